/**
 * What one client asks of the device: each request as calls of the Kernel seam. It knows no socket.
 */

import { cleanlyThen } from "../../base/cleanup.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import {
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_RESET,
  vfioDeviceInfo,
  vfioPrecopyInfo,
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
  VFIO_USER_REGION_WRITE_MULTI,
  VFIOKIT_MIG_PRECOPY_INFO,
} from "../../vfio_user/wire/commands.ts";
import { vfioUserDeviceInfo, vfioUserMigData } from "../../vfio_user/wire/structs.ts";
import type { DmaMessages } from "./client_memory.ts";
import { ClientDma } from "./dma.ts";
import { Features } from "./features.ts";
import { Interrupts } from "./interrupts.ts";
import type { OpenDevice } from "./open_device.ts";
import { refuse } from "./refuse.ts";
import { Regions } from "./regions.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const NOTHING: Bytes = new Uint8Array(0);

/** A request, but VFIO_USER_VERSION. */
export interface Request {
  /** `VFIO_USER_*`. */
  readonly command: number;
  /** What follows its header. */
  readonly payload: Bytes;
  /** The fds that came with it. Those that are taken are removed; the caller closes the others. */
  readonly fds: number[];
}

/** What a session works with. */
export interface SessionParts {
  /** The device. */
  readonly device: OpenDevice;
  /** The kernel of this process, which has the client's fds. */
  readonly own: Kernel;
  /** How the client's memory is reached where it sent no fd. */
  readonly messages: DmaMessages;
  /** Whether vfiokit's extension is in force. */
  readonly extended: boolean;
  /** The most data of one message, in bytes. */
  readonly mostData: number;
}

/** One client's use of the device. */
export class Session {
  readonly #device: OpenDevice;
  readonly #extended: boolean;
  readonly #mostData: number;
  readonly #regions: Regions;
  readonly #features: Features;
  readonly #interrupts: Interrupts;
  readonly #dma: ClientDma;

  constructor({ device, own, messages, extended, mostData }: SessionParts) {
    this.#device = device;
    this.#extended = extended;
    this.#mostData = mostData;
    this.#regions = new Regions(device, extended, mostData);
    this.#features = new Features(device, extended, mostData);
    this.#interrupts = new Interrupts(device, own);
    this.#dma = new ClientDma(device, own, messages);
  }

  /**
   * Does what a request asks for; returns the payload of its reply in parts, which the next request
   * and {@linkcode Session.readAhead} may overwrite.
   *
   * @throws {SysError} With the errno for its reply. {@linkcode errnoOfRefusal} knows the others.
   */
  handle(request: Request): readonly Bytes[] {
    return request.command === VFIO_USER_MIG_DATA_READ
      ? this.#readData(request.payload)
      : [this.#payload(request)];
  }

  /** The client's eventfds that the device waits for. */
  get awaited(): readonly number[] {
    return this.#interrupts.awaited;
  }

  /** One of them can be read. */
  signalled(eventfd: number): void {
    this.#interrupts.signalled(eventfd);
  }

  /** Does what can be done before the client's next request. */
  readAhead(): void {
    this.#device.data.readAhead();
  }

  #payload({ command, payload, fds }: Request): Bytes {
    switch (command) {
      case VFIO_USER_DMA_MAP:
        this.#dma.map(payload, fds);
        return NOTHING;
      case VFIO_USER_DMA_UNMAP:
        return this.#dma.unmap(payload);
      case VFIO_USER_DEVICE_GET_INFO:
        return this.#info(payload);
      case VFIO_USER_DEVICE_GET_REGION_INFO:
        return this.#regions.info(payload);
      case VFIO_USER_DEVICE_GET_IRQ_INFO:
        return this.#interrupts.info(payload);
      case VFIO_USER_DEVICE_SET_IRQS:
        this.#interrupts.set(payload, fds);
        return NOTHING;
      case VFIO_USER_REGION_READ:
        return this.#regions.read(payload);
      case VFIO_USER_REGION_WRITE:
        return this.#regions.write(payload);
      case VFIO_USER_REGION_WRITE_MULTI:
        return this.#regions.writeMulti(payload);
      case VFIO_USER_DEVICE_RESET:
        this.#device.ioctl(VFIO_DEVICE_RESET);
        this.#device.data.dropAhead();
        return NOTHING;
      case VFIO_USER_DEVICE_FEATURE:
        return this.#features.call(payload);
      case VFIO_USER_MIG_DATA_WRITE:
        return this.#writeData(payload);
      case VFIOKIT_MIG_PRECOPY_INFO:
        return this.#extended ? this.#precopyInfo(payload) : refuse("EINVAL");
      default:
        return refuse("EINVAL");
    }
  }

  #info(payload: Bytes): Bytes {
    const { size } = vfioUserDeviceInfo;
    if (payload.length < size) refuse("EINVAL");
    if (vfioUserDeviceInfo.unpack(payload).argsz < size) refuse("EINVAL");
    const argument = vfioDeviceInfo.pack({});
    this.#device.ioctl(VFIO_DEVICE_GET_INFO, argument);
    const { flags, num_irqs } = vfioDeviceInfo.unpack(argument);
    return vfioUserDeviceInfo.pack({ flags, num_regions: this.#regions.count, num_irqs });
  }

  #readData(payload: Bytes): readonly Bytes[] {
    if (payload.length < vfioUserMigData.size) refuse("EINVAL");
    const { size: head } = vfioUserMigData;
    const { argsz, size } = vfioUserMigData.unpack(payload);
    if (argsz < head + size || size > this.#mostData) refuse("EINVAL");
    // In the protocol a short read is the end of the data; with the extension it is a short read.
    const source = this.#device.data;
    const data = this.#extended ? source.read(size) : source.readAll(size);
    return [vfioUserMigData.pack({ argsz: head + data.length, size: data.length }), data];
  }

  #writeData(payload: Bytes): Bytes {
    if (payload.length < vfioUserMigData.size) refuse("EINVAL");
    const { size } = vfioUserMigData.unpack(payload);
    const from = payload.subarray(vfioUserMigData.size);
    if (from.length !== size || size > this.#mostData) refuse("EINVAL");
    const { data } = this.#device;
    if (this.#extended) return vfioUserMigData.pack({ size: data.write(from) });
    data.writeAll(from);
    return NOTHING;
  }

  #precopyInfo(payload: Bytes): Bytes {
    if (payload.length !== vfioPrecopyInfo.size) refuse("EINVAL");
    const argument = payload.slice();
    this.#device.data.precopyInfo(argument);
    return argument;
  }

  /** The client is gone: nothing of it is reached any more. */
  close(): void {
    cleanlyThen(
      () => this.#interrupts.close(),
      () => cleanlyThen(() => this.#dma.close(), () => this.#features.close()),
    );
  }
}
