/**
 * A v2 device made of a file: what it has is read from there, again and again,
 * and what it is given is written there.
 */

import { ERRNO } from "../../src/kernel/errno_names.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import { FIONBIO, type Kernel, O_RDWR } from "../../src/kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_MIGRATION_STOP_COPY,
  vfioDeviceFeature,
  vfioDeviceFeatureMigration,
  vfioDeviceFeatureMigState,
  vfioDeviceInfo,
} from "../../src/uapi/mod.ts";
import { FileKernel } from "./_file_kernel.ts";

type Buffer = Uint8Array<ArrayBuffer>;

const WITH_DATA: readonly number[] = [VFIO_DEVICE_STATE_STOP_COPY, VFIO_DEVICE_STATE_RESUMING];

/** The kernel of one such file, open as some fd. */
export class DataKernel extends FileKernel {
  override readonly name = "data";
  /** Bytes of state. */
  readonly #bytes: number;
  /** Bytes of the file: no read or write moves more. */
  readonly #most: number;
  #state = VFIO_DEVICE_STATE_RUNNING;
  #dataFd = -1;
  #left = 0;

  constructor(kernel: Kernel, bytes: number, fileBytes: number) {
    super(kernel);
    this.#bytes = bytes;
    this.#most = fileBytes;
  }

  override ioctl(fd: number, request: number, arg?: Buffer | number): number {
    if (request === FIONBIO) return 0;
    if (arg instanceof Uint8Array && request === VFIO_DEVICE_GET_INFO) {
      vfioDeviceInfo.pack({ flags: VFIO_DEVICE_FLAGS_RESET, num_regions: 0 }, arg);
      return 0;
    }
    if (arg instanceof Uint8Array && request === VFIO_DEVICE_FEATURE && this.#feature(fd, arg)) {
      return 0;
    }
    throw new SysError("ioctl", ERRNO.ENOTTY, `0x${request.toString(16)} on fd ${fd}`);
  }

  #feature(fd: number, arg: Buffer): boolean {
    const { flags } = vfioDeviceFeature.unpack(arg);
    const at = vfioDeviceFeature.size;
    const feature = flags & VFIO_DEVICE_FEATURE_MASK;
    if (feature === VFIO_DEVICE_FEATURE_MIGRATION && (flags & VFIO_DEVICE_FEATURE_GET) !== 0) {
      vfioDeviceFeatureMigration.pack({ flags: BigInt(VFIO_MIGRATION_STOP_COPY) }, arg, at);
      return true;
    }
    if (feature !== VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE) return false;
    let data_fd = -1;
    if ((flags & VFIO_DEVICE_FEATURE_SET) !== 0) {
      this.#state = vfioDeviceFeatureMigState.unpack(arg, at).device_state;
      if (WITH_DATA.includes(this.#state)) data_fd = this.#open(fd);
    }
    vfioDeviceFeatureMigState.pack({ device_state: this.#state, data_fd }, arg, at);
    return true;
  }

  #open(fd: number): number {
    this.#left = this.#bytes;
    return this.#dataFd = this.kernel.open(`/proc/self/fd/${fd}`, O_RDWR);
  }

  override read(fd: number, buffer: Buffer): number {
    if (fd !== this.#dataFd) return super.read(fd, buffer);
    const room = buffer.subarray(0, Math.min(this.#left, this.#most));
    const count = room.length === 0 ? 0 : this.kernel.pread(fd, room, 0);
    this.#left -= count;
    return count;
  }

  override write(fd: number, buffer: Buffer): number {
    if (fd !== this.#dataFd) return super.write(fd, buffer);
    return this.kernel.pwrite(fd, buffer.subarray(0, this.#most), 0);
  }
}
