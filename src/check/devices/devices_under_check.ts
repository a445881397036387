/**
 * The devices under check, and how they are opened, closed and opened again.
 */

import { cleanedUp, cleanly } from "../../base/cleanup.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import { openVfioDevices } from "../../vfio/open/open_several.ts";
import { openVfioDevice, type OpenVfioOptions } from "../../vfio/open/open.ts";
import type { DeviceInKernel } from "./device_kernel.ts";

/** How the devices are opened. */
export type BenchOptions = Pick<OpenVfioOptions, "vfToken" | "via" | "groupFd" | "containerFd">;

/** One or two open devices. */
export class Bench implements Disposable {
  readonly #places: readonly DeviceInKernel[];
  readonly #options: BenchOptions;
  #devices: VfioDevice[] = [];

  /**
   * Opens the devices.
   *
   * @throws What `openVfioDevice` and `openVfioDevices` throw.
   */
  constructor(places: readonly DeviceInKernel[], options: BenchOptions) {
    this.#places = places;
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
    const places = this.#places;
    const { kernel } = places[0]!;
    if (places.length > 1 && places.every((place) => place.kernel === kernel)) {
      this.#devices = openVfioDevices(kernel, places.map(({ name }) => name), this.#options);
      return;
    }
    try {
      for (const place of places) {
        this.#devices.push(openVfioDevice(place.kernel, place.name, this.#options));
      }
    } catch (error) {
      throw cleanedUp(error, () => this.close());
    }
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
