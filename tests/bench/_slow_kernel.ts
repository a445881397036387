/**
 * A simulated v2 device whose driver takes its time, and which says how long it stood still.
 */

import * as fs from "node:fs";
import { sleepSync } from "../../src/kernel/process/sleep_sync.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_STATE_RUNNING,
  vfioDeviceFeature,
  vfioDeviceFeatureMigState,
} from "../../src/uapi/mod.ts";
import { FileKernel } from "./_file_kernel.ts";

type Buffer = Uint8Array<ArrayBuffer>;

/** A device with pre-copy, and one without. */
export const SLOW = "sim:mlx5?size=32MiB";
export const SLOW_WITHOUT_PRECOPY = "sim:pds?size=32MiB";

/** The name of such a device in its kernel. */
export function slowDevice(spec: string): string {
  return new SimKernel(spec).devices[0]!.path;
}

/** What the driver takes for a MiB, in milliseconds. */
const MS_PER_MIB = 20;

/** Seconds since 1970. */
const now = (): number => (performance.timeOrigin + performance.now()) / 1000;

/** The kernel of one such device. */
export class SlowKernel extends FileKernel {
  override readonly name = "slow";
  /** When the device left RUNNING, in seconds since 1970; null while it runs. */
  #stopped: number | null = null;

  constructor(spec: string) {
    super(new SimKernel(spec));
  }

  override read(fd: number, buffer: Buffer): number {
    const count = this.kernel.read(fd, buffer);
    sleepSync(count * MS_PER_MIB / (1 << 20));
    return count;
  }

  override ioctl(fd: number, request: number, arg?: Buffer | number): number {
    const asked = now();
    const result = this.kernel.ioctl(fd, request, arg);
    if (request === VFIO_DEVICE_FEATURE && arg instanceof Uint8Array) this.#noteState(arg, asked);
    return result;
  }

  /** Prints, for the bench, from when to when it did not run. */
  #noteState(arg: Buffer, asked: number): void {
    const { flags } = vfioDeviceFeature.unpack(arg);
    if (
      (flags & VFIO_DEVICE_FEATURE_MASK) !== VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE ||
      (flags & VFIO_DEVICE_FEATURE_SET) === 0
    ) return;
    const { device_state } = vfioDeviceFeatureMigState.unpack(arg, vfioDeviceFeature.size);
    if (device_state !== VFIO_DEVICE_STATE_RUNNING) {
      this.#stopped ??= asked;
    } else if (this.#stopped !== null) {
      fs.writeSync(2, `${this.#stopped.toFixed(6)} ${now().toFixed(6)}\n`);
      this.#stopped = null;
    }
  }
}
