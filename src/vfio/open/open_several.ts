/**
 * Opening several devices, of which some may share a group.
 *
 * @module
 */

import { cleanly } from "../../base/cleanup.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { VfioDevice } from "../device/device.ts";
import type { DeviceName } from "./device_name.ts";
import { type OpenVfioOptions, openWith } from "./open.ts";
import { ownersAmong, type SharedParts, sharedParts } from "./sharing.ts";

/**
 * Opens several devices. A group can be opened only once, so devices of one group share the group
 * and its container. Devices opened by their own character devices share one iommufd; those of one
 * group also share an IOAS, the others have one each. Close the devices in reverse order: the first
 * one owns what is shared. If one cannot be opened, none stays open.
 *
 * @param options The VF token, for devices that ask for one, and how to open them.
 * @throws {DeviceNameError} If two names are of one device.
 * @throws What {@linkcode openVfioDevice} throws.
 *
 * @example
 * ```ts
 * import { SimKernel } from "vfiokit/sim";
 * import { openVfioDevices, parseDeviceName } from "vfiokit/vfio";
 * import assert from "node:assert/strict";
 *
 * const kernel = new SimKernel("mapped", "trapped");
 * const names = kernel.devices.map(({ path }) => parseDeviceName(path));
 * const devices = openVfioDevices(kernel, names);
 * assert.deepEqual(devices.map(({ group }) => group?.number), [0, 1]);
 * for (const device of devices.reverse()) device.close();
 * ```
 */
export function openVfioDevices(
  kernel: Kernel,
  names: readonly DeviceName[],
  options: Pick<OpenVfioOptions, "vfToken" | "via"> = {},
): VfioDevice[] {
  return cleanly(() => {
    using opened = new DisposableStack();
    const devices: VfioDevice[] = [];
    for (const [index, owner] of ownersAmong(names, () => kernel).entries()) {
      const shared = sharedWith(devices, owner);
      devices.push(opened.use(openWith(kernel, names[index]!, options, shared)));
    }
    opened.move();
    return devices;
  });
}

/** What the next device is opened in, which an earlier one has open; null if nothing. */
function sharedWith(devices: readonly VfioDevice[], owner: number | null): SharedParts | null {
  if (owner !== null) {
    const first = devices[owner]!;
    first.share();
    return sharedParts(first);
  }
  const bound = devices.find(({ borrowed, ioas }) => !borrowed && ioas !== null);
  bound?.share();
  return bound?.ioas == null ? null : { iommufd: bound.ioas.iommufd, ioas: null };
}
