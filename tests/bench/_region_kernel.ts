/**
 * A VFIO device made of a file: the seam's real calls, with nothing of VFIO
 * behind them but answers to the two ioctls that describe it.
 */

import type { Kernel } from "../../src/kernel/kernel.ts";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import {
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_REGION_INFO_CAP_TYPE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
  VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
  VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
  vfioDeviceInfo,
  vfioDeviceMigrationInfo as registers,
  vfioRegionInfo,
  vfioRegionInfoCapType,
} from "../../src/uapi/mod.ts";
import { FileKernel } from "./_file_kernel.ts";

type Buffer = Uint8Array<ArrayBuffer>;

const DEVICE_STATE = registers.offsetOf("device_state");
const PENDING_BYTES = registers.offsetOf("pending_bytes");
const DATA_SIZE = registers.offsetOf("data_size");

/**
 * The kernel of one file that is laid out as a v1 migration region, open as
 * some fd. Its registers and data are read and written there; pending_bytes
 * says in the file what a save yields, and is counted down here.
 */
export class RegionKernel extends FileKernel {
  override readonly name = "region";
  readonly #regionSize: bigint;
  #left = -1;

  /** Over another kernel's calls; `regionSize` is the file's size in bytes. */
  constructor(kernel: Kernel, regionSize: number) {
    super(kernel);
    this.#regionSize = BigInt(regionSize);
  }

  override ioctl(fd: number, request: number, arg?: Buffer | number): number {
    if (arg instanceof Uint8Array && request === VFIO_DEVICE_GET_INFO) {
      vfioDeviceInfo.pack({ flags: VFIO_DEVICE_FLAGS_RESET, num_regions: 1 }, arg);
      return 0;
    }
    if (arg instanceof Uint8Array && request === VFIO_DEVICE_GET_REGION_INFO) {
      this.#describe(arg);
      return 0;
    }
    throw new SysError("ioctl", ERRNO.ENOTTY, `0x${request.toString(16)} on fd ${fd}`);
  }

  #describe(arg: Buffer): void {
    const argsz = vfioRegionInfo.size + vfioRegionInfoCapType.size;
    const room = arg.length >= argsz;
    vfioRegionInfo.pack({
      argsz,
      flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE | VFIO_REGION_INFO_FLAG_CAPS,
      cap_offset: room ? vfioRegionInfo.size : 0,
      size: this.#regionSize,
    }, arg);
    if (!room) return;
    vfioRegionInfoCapType.pack(
      {
        header: { id: VFIO_REGION_INFO_CAP_TYPE, version: 1, next: 0 },
        type: VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
        subtype: VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
      },
      arg,
      vfioRegionInfo.size,
    );
  }

  override pread(fd: number, buffer: Buffer, offset: number | bigint): number {
    const count = this.kernel.pread(fd, buffer, offset);
    if (offset === PENDING_BYTES) this.#countDown(buffer);
    else if (offset === DATA_SIZE) this.#left -= low32(buffer);
    return count;
  }

  /** The first read of a phase finds the file's number, the next ones what is left of it. */
  #countDown(buffer: Buffer): void {
    const view = new DataView(buffer.buffer, buffer.byteOffset, 8);
    if (this.#left < 0) this.#left = Number(view.getBigUint64(0, true));
    view.setUint32(0, this.#left % 2 ** 32, true);
    view.setUint32(4, Math.floor(this.#left / 2 ** 32), true);
  }

  override pwrite(fd: number, buffer: Buffer, offset: number | bigint): number {
    if (offset === DEVICE_STATE) this.#left = -1;
    return this.kernel.pwrite(fd, buffer, offset);
  }
}

function low32(buffer: Buffer): number {
  return new DataView(buffer.buffer, buffer.byteOffset, 4).getUint32(0, true);
}
