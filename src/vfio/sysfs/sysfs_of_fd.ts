/**
 * Finds the device of an fd that another program opened.
 *
 * @module
 */

import { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import {
  type PciIds,
  readCdevDevice,
  readGroupDevices,
  readSysfsDevice,
  type SysfsDevice,
} from "./sysfs.ts";

/**
 * The path that an fd was opened by, as /proc has it; empty if it does not
 * tell.
 */
export function pathOfFd(kernel: Kernel, fd: number): string {
  try {
    return kernel.readLink(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}

/**
 * Finds the sysfs folder of a device fd: by the line that Linux 6.18 and later
 * write to its fdinfo; by the node that it was opened by; else as the only device of its group that its PCI ids
 * allow for.
 *
 * @param group The number of its group; null if unknown.
 * @param ids The PCI ids in its configuration region; null if unknown.
 * @returns null if it cannot be told for certain.
 */
export function sysfsOfFd(
  kernel: Kernel,
  fd: number,
  group: number | null,
  ids: PciIds | null,
): SysfsDevice | null {
  try {
    const path = /^vfio-device-syspath:\s*(\/sys\/\S+)$/m.exec(
      kernel.readText(`/proc/self/fdinfo/${fd}`),
    )?.[1];
    if (path !== undefined) return readSysfsDevice(kernel, path);
  } catch {
    // No /proc, or an older kernel: the group may still tell.
  }
  try {
    const own = readCdevDevice(kernel, pathOfFd(kernel, fd));
    if (own !== null || group === null) return own;
    const candidates = readGroupDevices(kernel, group).filter((device) =>
      ids === null || device.ids === null || sameIds(device.ids, ids)
    );
    return candidates.length === 1 ? candidates[0]! : null;
  } catch (error) {
    // What this user cannot read in sysfs stays unknown.
    if (error instanceof SysError) return null;
    throw error;
  }
}

function sameIds(a: PciIds, b: PciIds): boolean {
  return a.vendorId === b.vendorId && a.deviceId === b.deviceId &&
    a.subsystemVendorId === b.subsystemVendorId && a.subsystemId === b.subsystemId;
}
