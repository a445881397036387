/**
 * A device at the other end of a connection: what its ioctls, reads and writes are as messages, and
 * what is checked in the replies.
 */

import { ERRNO } from "../../kernel/errno_names.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import {
  VFIO_REGION_INFO_FLAG_MMAP,
  type VfioIrqInfo,
  vfioIrqInfo,
  vfioPrecopyInfo,
  vfioRegionInfo,
} from "../../uapi/mod.ts";
import {
  VFIO_USER_DEVICE_FEATURE,
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DEVICE_GET_IRQ_INFO,
  VFIO_USER_DEVICE_GET_REGION_INFO,
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_DEVICE_SET_IRQS,
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_UNMAP,
  VFIO_USER_MIG_DATA_READ,
  VFIO_USER_MIG_DATA_WRITE,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIOKIT_MIG_PRECOPY_INFO,
} from "../wire/commands.ts";
import { closeAll, type MessageSocket } from "../wire/message_socket.ts";
import {
  type VfioUserDeviceInfo,
  vfioUserDeviceInfo,
  type VfioUserDmaMap,
  vfioUserDmaMap,
  vfioUserDmaUnmap,
  vfioUserMigData,
  vfioUserRegionAccess,
} from "../wire/structs.ts";
import { malformed } from "../wire/wire_error.ts";
import type { ServerConnection } from "./connection.ts";
import type { StructCodec } from "../../uapi/struct_types.ts";
import { REGION_MAX } from "./region_files.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The most that is asked for with a region's capabilities, in bytes. */
const REGION_INFO_MAX = 65536;

/** A region, as the server describes it. */
export interface RemoteRegion {
  /** `struct vfio_region_info` and its capabilities; argsz is what all of it needs. */
  readonly info: Bytes;
  /** The fd of its memory; null if it cannot be mapped. The caller closes it. */
  readonly fd: number | null;
}

/** A device that is driven by messages. */
export class RemoteDevice {
  /** The connection. */
  readonly connection: ServerConnection;

  constructor(connection: ServerConnection) {
    this.connection = connection;
  }

  /** Asks with one struct; the reply begins with another. */
  #ask<Answer extends object>(
    command: number,
    payload: readonly Uint8Array[],
    codec: StructCodec<Answer>,
  ): Answer {
    return this.connection.request({
      command,
      payload,
      receive: (socket, length) => receiveStruct(socket, length, codec),
    });
  }

  /** Asks for something whose reply says only whether it was done. */
  #tell(command: number, payload: readonly Uint8Array[], fds: readonly number[] = []): void {
    this.connection.request({
      command,
      payload,
      fds,
      receive: (socket, length) => socket.skip(length),
    });
  }

  /** VFIO_DEVICE_GET_INFO. */
  info(): VfioUserDeviceInfo {
    const request = vfioUserDeviceInfo.pack({});
    return this.#ask(VFIO_USER_DEVICE_GET_INFO, [request], vfioUserDeviceInfo);
  }

  /** VFIO_DEVICE_GET_REGION_INFO, with room for `argsz` bytes. */
  regionInfo(index: number, argsz: number): RemoteRegion {
    const room = Math.min(argsz, REGION_INFO_MAX);
    return this.connection.request({
      command: VFIO_USER_DEVICE_GET_REGION_INFO,
      payload: [vfioRegionInfo.pack({ argsz: room, index })],
      wantsFds: true,
      receive: (socket, length, fds) => {
        try {
          return receiveRegion(socket, { length, fds }, { index, room });
        } catch (error) {
          closeAll(fds);
          throw error;
        }
      },
    });
  }

  /** VFIO_DEVICE_GET_IRQ_INFO. */
  irqInfo(index: number): VfioIrqInfo {
    return this.connection.request({
      command: VFIO_USER_DEVICE_GET_IRQ_INFO,
      payload: [vfioIrqInfo.pack({ index })],
      receive: (socket, length) => {
        const answer = receiveStruct(socket, length, vfioIrqInfo);
        requireSame("vfio_irq_info.index", answer.index, index);
        return answer;
      },
    });
  }

  /** VFIO_DEVICE_SET_IRQS; `set` is a struct vfio_irq_set with what it has of data in line. */
  setIrqs(set: Bytes, fds: readonly number[]): void {
    this.#tell(VFIO_USER_DEVICE_SET_IRQS, [set], fds);
  }

  /** VFIO_DEVICE_RESET. */
  reset(): void {
    this.#tell(VFIO_USER_DEVICE_RESET, []);
  }

  /**
   * VFIO_DEVICE_FEATURE; `request` is a struct vfio_device_feature, whose argsz is the largest
   * reply.
   *
   * @returns The reply, at most argsz bytes of it.
   */
  feature(request: Bytes, least: number): Bytes {
    const argsz = new DataView(request.buffer, request.byteOffset).getUint32(0, true);
    return this.connection.request({
      command: VFIO_USER_DEVICE_FEATURE,
      payload: [request],
      receive: (socket, length) => {
        requireLength("vfio_user_device_feature", length, least);
        const answer = new Uint8Array(Math.min(length, argsz));
        socket.receive(answer);
        socket.skip(length - answer.length);
        const flags = new DataView(answer.buffer).getUint32(4, true);
        const asked = new DataView(request.buffer, request.byteOffset).getUint32(4, true);
        requireSame("vfio_user_device_feature.flags", flags, asked);
        return answer;
      },
    });
  }

  /** Reads from a region; as pread(2), it may read less than asked. */
  readRegion(region: number, offset: number, into: Uint8Array): number {
    return this.#inParts(into, this.connection.maxRead, (part, done) => {
      const place = { offset: BigInt(offset + done), region, count: part.length };
      return this.connection.request({
        command: VFIO_USER_REGION_READ,
        payload: [vfioUserRegionAccess.pack(place)],
        receive: (socket, length) => {
          const count = receiveAccess(socket, length, place);
          requireLength("vfio_user_region_access", length, vfioUserRegionAccess.size + count);
          socket.receive(part.subarray(0, count));
          socket.skip(length - vfioUserRegionAccess.size - count);
          return count;
        },
      });
    });
  }

  /** Writes to a region; as pwrite(2), it may write less than asked. */
  writeRegion(region: number, offset: number, from: Uint8Array): number {
    return this.#inParts(from, this.connection.maxWrite, (part, done) => {
      const place = { offset: BigInt(offset + done), region, count: part.length };
      return this.connection.request({
        command: VFIO_USER_REGION_WRITE,
        payload: [vfioUserRegionAccess.pack(place), part],
        receive: (socket, length) => {
          const count = receiveAccess(socket, length, place);
          socket.skip(length - vfioUserRegionAccess.size);
          return count;
        },
      });
    });
  }

  /** Moves bytes in as many messages as they need. What was moved before a failure counts. */
  #inParts(
    bytes: Uint8Array,
    most: number,
    move: (part: Uint8Array, done: number) => number,
  ): number {
    let done = 0;
    while (done < bytes.length) {
      const part = bytes.length <= most ? bytes : bytes.subarray(done, done + most);
      try {
        const count = move(part, done);
        done += count;
        if (count < part.length) break;
      } catch (error) {
        if (done === 0 || !(error instanceof SysError)) throw error;
        break;
      }
    }
    return done;
  }

  /**
   * Reads migration data, at most `into.length` bytes and as much as a message has.
   *
   * @returns The bytes that came, and whether that was all that was asked for.
   */
  readData(into: Uint8Array): { readonly count: number; readonly full: boolean } {
    const size = Math.min(into.length, this.connection.maxRead);
    const head = vfioUserMigData.size;
    return this.connection.request({
      command: VFIO_USER_MIG_DATA_READ,
      payload: [vfioUserMigData.pack({ argsz: head + size, size })],
      receive: (socket, length) => {
        const { size: count } = receiveStruct(socket, length, vfioUserMigData, "more");
        if (count > size || head + count > length) {
          throw malformed(
            `vfio_user_mig_data.size is ${count}, of ${size} asked for and ${length - head} sent`,
          );
        }
        socket.receive(count === into.length ? into : into.subarray(0, count));
        socket.skip(length - head - count);
        return { count, full: count === size };
      },
    });
  }

  /** Writes migration data, as much as a message has; returns how much that was. */
  writeData(from: Uint8Array): number {
    const size = Math.min(from.length, this.connection.maxWrite);
    const data = size === from.length ? from : from.subarray(0, size);
    const request = vfioUserMigData.pack({ argsz: vfioUserMigData.size + size, size });
    this.#tell(VFIO_USER_MIG_DATA_WRITE, [request, data]);
    return size;
  }

  /** VFIO_MIG_GET_PRECOPY_INFO, where the extension is in force. */
  precopyInfo(request: Bytes): Bytes {
    return this.connection.request({
      command: VFIOKIT_MIG_PRECOPY_INFO,
      payload: [request],
      receive: (socket, length) => {
        requireLength(vfioPrecopyInfo.name, length, vfioPrecopyInfo.size);
        const answer = new Uint8Array(vfioPrecopyInfo.size);
        socket.receive(answer);
        socket.skip(length - answer.length);
        return answer;
      },
    });
  }

  /** Lets the device reach memory; without an fd by messages. */
  map(mapping: Omit<VfioUserDmaMap, "argsz">, fd: number | null): void {
    this.#tell(VFIO_USER_DMA_MAP, [vfioUserDmaMap.pack(mapping)], fd === null ? [] : [fd]);
  }

  /** Takes such memory back. */
  unmap(addr: bigint, size: bigint): void {
    this.#tell(VFIO_USER_DMA_UNMAP, [vfioUserDmaUnmap.pack({ addr, size })]);
  }

  /**
   * Whether it has a feature. Servers other than vfiokit's answer EINVAL for one they lack, the
   * kernel ENOTTY.
   */
  probe(request: Bytes): void {
    try {
      this.feature(request, request.length);
    } catch (error) {
      if (this.connection.extension !== null || !isErrno(error, "EINVAL")) throw error;
      throw new SysError(error.syscall, ERRNO.ENOTTY, error.object);
    }
  }
}

/** Receives a struct, and drops what follows it but where more is wanted. */
function receiveStruct<Answer extends object>(
  socket: MessageSocket,
  length: number,
  codec: StructCodec<Answer>,
  then: "more" | "nothing" = "nothing",
): Answer {
  requireLength(codec.name, length, codec.size);
  const bytes = new Uint8Array(codec.size);
  socket.receive(bytes);
  if (then === "nothing") socket.skip(length - bytes.length);
  return codec.unpack(bytes);
}

/** Receives the head of a reply to REGION_READ or REGION_WRITE; returns its count. */
function receiveAccess(
  socket: MessageSocket,
  length: number,
  asked: { readonly offset: bigint; readonly region: number; readonly count: number },
): number {
  const answer = receiveStruct(socket, length, vfioUserRegionAccess, "more");
  requireSame("vfio_user_region_access.offset", answer.offset, asked.offset);
  requireSame("vfio_user_region_access.region", answer.region, asked.region);
  if (answer.count <= asked.count) return answer.count;
  throw malformed(
    `vfio_user_region_access.count is ${answer.count}, of ${asked.count} asked for`,
  );
}

function receiveRegion(
  socket: MessageSocket,
  { length, fds }: { readonly length: number; readonly fds: readonly number[] },
  { index, room }: { readonly index: number; readonly room: number },
): RemoteRegion {
  requireLength(vfioRegionInfo.name, length, vfioRegionInfo.size);
  const info = new Uint8Array(Math.min(length, room));
  socket.receive(info);
  socket.skip(length - info.length);
  const answer = vfioRegionInfo.unpack(info);
  requireSame("vfio_region_info.index", answer.index, index);
  if (answer.size > REGION_MAX) {
    throw malformed(`vfio_region_info.size is 0x${answer.size.toString(16)} of region ${index}`);
  }
  const [fd = null, ...rest] = (answer.flags & VFIO_REGION_INFO_FLAG_MMAP) === 0 ? [] : fds;
  closeAll(fd === null ? fds : rest);
  return { info, fd };
}

function requireLength(name: string, length: number, least: number): void {
  if (length >= least) return;
  throw malformed(`the server sent ${length} bytes of ${name}, which has at least ${least}`);
}

function requireSame(field: string, answer: number | bigint, asked: number | bigint): void {
  if (answer === asked) return;
  throw malformed(`${field} is ${answer} in the reply, and was ${asked} in the request`);
}
