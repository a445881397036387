/**
 * The devices under check, and how they are opened, closed and opened again.
 */

import { cleanly } from "../../base/cleanup.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import type { DeviceName } from "../../vfio/open/device_name.ts";
import { openVfioDevices } from "../../vfio/open/open_several.ts";
import { openVfioDevice, type OpenVfioOptions } from "../../vfio/open/open.ts";

/** How the devices are opened. */
export type BenchOptions = Pick<OpenVfioOptions, "vfToken" | "via" | "groupFd" | "containerFd">;

/** One or two open devices. */
export class Bench implements Disposable {
  readonly #kernel: Kernel;
  readonly #names: readonly DeviceName[];
  readonly #options: BenchOptions;
  #devices: VfioDevice[] = [];

  /**
   * Opens the devices.
   *
   * @throws What `openVfioDevices` throws.
   */
  constructor(kernel: Kernel, names: readonly DeviceName[], options: BenchOptions) {
    this.#kernel = kernel;
    this.#names = names;
    this.#options = options;
    this.open();
  }

  /** The device under check. */
  get device(): VfioDevice {
    return this.#devices[0]!;
  }

  /** The second device; null if there is none. */
  get second(): VfioDevice | null {
    return this.#devices[1] ?? null;
  }

  /** Whether closing the device is its last close. */
  get closable(): boolean {
    return this.#devices.every(({ borrowed }) => !borrowed);
  }

  /** Opens what was closed. */
  open(): void {
    const [only, ...others] = this.#names;
    this.#devices = others.length === 0
      ? [openVfioDevice(this.#kernel, only!, this.#options)]
      : openVfioDevices(this.#kernel, this.#names, this.#options);
  }

  /** Closes the devices, the first one last, which has what they share. */
  close(): void {
    const devices = this.#devices;
    this.#devices = [];
    cleanly(() => {
      using closing = new DisposableStack();
      for (const device of devices) closing.use(device);
    });
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
