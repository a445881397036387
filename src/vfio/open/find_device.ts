/**
 * Finds a device in sysfs by its name.
 *
 * @module
 */

import { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { exists } from "../reasons/evidence.ts";
import { groupMembers } from "../reasons/group_viability.ts";
import { explainOpening } from "./explain_opening.ts";
import { type DeviceName, DeviceNameError, formatDeviceName } from "./device_name.ts";
import { nameIn } from "./kernel_for.ts";
import { noSuchDevice, noSysfs } from "../reasons/reasons.ts";
import { readSysfsDevice, type SysfsDevice, sysfsPath } from "../sysfs/sysfs.ts";
import type { Reason } from "../reasons/unsupported_error.ts";

/**
 * Finds a device by its name.
 *
 * @returns null for an fd, and if there is no such device.
 * @throws {DeviceNameError} For a group: which devices it has.
 * @throws {UnsupportedError} If sysfs may not be read.
 * @throws {OpenError} If sysfs cannot be read for another reason.
 *
 * @example
 * ```ts
 * import { SimKernel } from "vfiokit/sim";
 * import { parseDeviceName } from "vfiokit/vfio";
 * import { findDevice } from "./find_device.ts";
 * import assert from "node:assert/strict";
 *
 * const kernel = new SimKernel("sim:trapped");
 * assert.equal(findDevice(kernel, parseDeviceName("vfio0"))?.name, kernel.devices[0]!.path);
 * assert.throws(() => findDevice(kernel, parseDeviceName("/dev/vfio/0")), /no device: it has/);
 * ```
 */
export function findDevice(kernel: Kernel, name: DeviceName): SysfsDevice | null {
  const own = nameIn(kernel, name);
  if (own.kind === "fd") return null;
  if (own.kind === "group") throw noDevice(kernel, own.number, formatDeviceName(own));
  try {
    return readSysfsDevice(kernel, sysfsPath(own));
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw explainOpening("read sysfs", error, { kernel });
  }
}

/** Why a name was not found. */
export function absence(kernel: Kernel, name: DeviceName): Reason {
  const own = nameIn(kernel, name);
  const label = formatDeviceName(name);
  if (exists(kernel, "/sys/bus") === false) return noSysfs(label);
  return noSuchDevice(label, sysfsPath(own), own.kind === "pci" ? alike(kernel, own.address) : []);
}

/** The functions that have the same address in other domains. */
function alike(kernel: Kernel, address: string): string[] {
  const inDomain = address.slice(address.indexOf(":"));
  try {
    return kernel.readDir("/sys/bus/pci/devices").filter((name) => name.endsWith(inDomain));
  } catch {
    return [];
  }
}

function noDevice(kernel: Kernel, number: number, path: string): DeviceNameError {
  const members = groupMembers(kernel, number) ?? [];
  const list = members.map(({ device: { name, driver } }) => `${name} (${driver ?? "no driver"})`);
  return new DeviceNameError(
    `Cannot use "${path}" as a device name: it is an IOMMU group, and no device` +
      (list.length === 0 ? "; sysfs shows no device in it" : `: it has ${list.join(", ")}`),
  );
}
