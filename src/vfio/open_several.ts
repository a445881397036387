/**
 * Opening several devices, of which some may share a group.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import type { VfioDevice } from "./device.ts";
import type { DeviceName } from "./device_name.ts";
import { nameIn } from "./kernel_for.ts";
import { openGroupDevice, openVfioDevice } from "./open.ts";
import { readSysfsDevice, sysfsPath } from "./sysfs.ts";

/**
 * Opens devices. A group can be opened only once, so devices of one group
 * share it, and its container. Close them in the opposite order: group and
 * container are those of the first of them. Where one cannot be opened, none is.
 *
 * @param vfToken The VF token, for devices that ask for one.
 * @throws What {@linkcode openVfioDevice} throws.
 *
 * @example
 * ```ts
 * import { SimKernel } from "../sim/mod.ts";
 * import { parseDeviceName } from "./device_name.ts";
 * import { openVfioDevices } from "./open_several.ts";
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
  vfToken?: string,
): VfioDevice[] {
  using opened = new DisposableStack();
  const devices: VfioDevice[] = [];
  for (const name of names) devices.push(opened.use(openNext(kernel, name, devices, vfToken)));
  opened.move();
  return devices;
}

function openNext(
  kernel: Kernel,
  name: DeviceName,
  before: readonly VfioDevice[],
  vfToken: string | undefined,
): VfioDevice {
  const own = nameIn(kernel, name);
  const sysfs = own.kind === "fd" ? null : readSysfsDevice(kernel, sysfsPath(own));
  const first = before.find(({ borrowed, group }) =>
    !borrowed && group !== null && group.number === sysfs?.group?.number
  );
  return sysfs !== null && first?.group && first.container
    ? openGroupDevice(kernel, first.group, first.container, sysfs, { vfToken })
    : openVfioDevice(kernel, name, { vfToken });
}
