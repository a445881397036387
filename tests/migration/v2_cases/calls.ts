/**
 * The calls of the v2 protocol, one function each, to a device of any kernel.
 */

import { type Kernel, POLLIN } from "../../../src/kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_RESET,
  VFIO_MIG_GET_PRECOPY_INFO,
  vfioDeviceFeature,
  vfioDeviceFeatureMigDataSize,
  vfioDeviceFeatureMigration,
  vfioDeviceFeatureMigState,
  vfioPrecopyInfo,
} from "../../../src/uapi/mod.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const DATA = vfioDeviceFeature.size;

/** An open v2 device, and the data fd that its last step gave. */
export class V2Calls implements Disposable {
  /** -1 where there is none. */
  data = -1;
  /** Whether the last step gave one. */
  given = false;

  readonly kernel: Kernel;
  readonly fd: number;

  /** The device's fd stays the caller's. */
  constructor(kernel: Kernel, fd: number) {
    this.kernel = kernel;
    this.fd = fd;
  }

  /** VFIO_DEVICE_FEATURE; returns the struct behind, as the kernel left it. */
  feature(flags: number, payload: Bytes | number = 0, argsz?: number): Bytes {
    const size = typeof payload === "number" ? payload : payload.length;
    const arg = new Uint8Array(DATA + size);
    vfioDeviceFeature.pack({ argsz: arg.length, flags: flags >>> 0 }, arg);
    if (argsz !== undefined) new DataView(arg.buffer).setUint32(0, argsz, true);
    if (typeof payload !== "number") arg.set(payload, DATA);
    try {
      this.kernel.ioctl(this.fd, VFIO_DEVICE_FEATURE, arg);
    } finally {
      if (typeof payload !== "number") payload.set(arg.subarray(DATA));
    }
    return arg.slice(DATA);
  }

  get flags(): number {
    const answer = this.feature(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION, 8);
    return Number(vfioDeviceFeatureMigration.unpack(answer).flags);
  }

  get dataSize(): number {
    const answer = this.feature(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, 8);
    return Number(vfioDeviceFeatureMigDataSize.unpack(answer).stop_copy_length);
  }

  get v2State(): number {
    const answer = this.feature(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, 8);
    return vfioDeviceFeatureMigState.unpack(answer).device_state;
  }

  /** Goes to a state, and keeps its data fd; a former one is closed. */
  go(...states: number[]): void {
    for (const device_state of states) {
      this.given = false;
      const payload = vfioDeviceFeatureMigState.pack({ device_state, data_fd: -1 });
      this.feature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, payload);
      const { data_fd } = vfioDeviceFeatureMigState.unpack(payload);
      if (data_fd < 0) continue;
      this.closeData();
      this.given = true;
      this.data = data_fd;
    }
  }

  closeData(): void {
    if (this.data >= 0) this.kernel.close(this.data);
    this.data = -1;
  }

  [Symbol.dispose](): void {
    this.closeData();
  }

  reset(): void {
    this.kernel.ioctl(this.fd, VFIO_DEVICE_RESET);
  }

  read(length: number): Bytes {
    const into = new Uint8Array(length);
    return into.subarray(0, this.kernel.read(this.data, into));
  }

  write(from: Bytes): number {
    return this.kernel.write(this.data, from);
  }

  get ready(): number {
    return this.kernel.poll(this.data, POLLIN, 0);
  }

  info(flags = 0): { readonly initial: number; readonly dirty: number } {
    const arg = vfioPrecopyInfo.pack({ flags });
    this.kernel.ioctl(this.data, VFIO_MIG_GET_PRECOPY_INFO, arg);
    const { initial_bytes, dirty_bytes } = vfioPrecopyInfo.unpack(arg);
    return { initial: Number(initial_bytes), dirty: Number(dirty_bytes) };
  }

  /** Reads to the end of the data, by so many bytes at a time. */
  readAll(length = 65536): Bytes {
    const parts: Bytes[] = [];
    for (;;) {
      const part = this.read(length);
      if (part.length === 0) break;
      parts.push(part);
    }
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  /** Writes all of it, by so many bytes at a time. */
  writeAll(data: Bytes, length = 65536): void {
    for (let at = 0; at < data.length;) at += this.write(data.subarray(at, at + length));
  }
}
