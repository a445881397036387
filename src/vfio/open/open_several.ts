/**
 * Opening several devices, of which some may share a group.
 *
 * @module
 */

import { cleanly } from "../../base/cleanup.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { byCdevOrGroup } from "./_cdev.ts";
import type { VfioDevice } from "../device/device.ts";
import type { DeviceName } from "./device_name.ts";
import { findDevice } from "./find_device.ts";
import { openCdevDevice, openGroupDevice, openVfioDevice, type OpenVfioOptions } from "./open.ts";
import type { SysfsDevice } from "../sysfs/sysfs.ts";

/**
 * Opens several devices. A group can be opened only once, so devices of one group share the group
 * and its container. Devices opened by their own character devices share one iommufd; those of one
 * group also share an IOAS, the others have one each. Close the devices in reverse order: the first
 * one owns what is shared. If one cannot be opened, none stays open.
 *
 * @param options The VF token, for devices that ask for one, and how to open them.
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
    for (const name of names) devices.push(opened.use(openNext(kernel, name, devices, options)));
    opened.move();
    return devices;
  });
}

function openNext(
  kernel: Kernel,
  name: DeviceName,
  before: readonly VfioDevice[],
  options: Pick<OpenVfioOptions, "vfToken" | "via">,
): VfioDevice {
  const sysfs = findDevice(kernel, name);
  const siblings = before.filter((device) => !device.borrowed && inGroupOf(sysfs, device));
  const { group, container } = siblings.find(({ group }) => group !== null) ?? {};
  if (sysfs !== null && group && container) {
    return openGroupDevice(kernel, sysfs, { group, container }, options);
  }
  const iommufd = before.find(({ borrowed, ioas }) => !borrowed && ioas !== null)?.ioas?.iommufd;
  if (sysfs === null || iommufd === undefined || options.via === "group") {
    return openVfioDevice(kernel, name, options);
  }
  const ioas = siblings.find(({ ioas }) => ioas !== null)?.ioas ?? null;
  const byCdev = (): VfioDevice => openCdevDevice(kernel, sysfs, { iommufd, ioas }, options);
  if (options.via === "cdev") return byCdev();
  const byGroup = { ...options, via: "group" } as const;
  return byCdevOrGroup(kernel, sysfs, byCdev, () => openVfioDevice(kernel, name, byGroup));
}

function inGroupOf(sysfs: SysfsDevice | null, device: VfioDevice): boolean {
  const number = device.group?.number ?? device.sysfs?.group?.number;
  return number !== undefined && number === sysfs?.group?.number;
}
