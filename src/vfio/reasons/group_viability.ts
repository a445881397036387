/**
 * Which devices make their IOMMU group unavailable to user space.
 *
 * Until Linux 5.17 VFIO itself judges: a device does not matter that has no driver, a VFIO driver,
 * or pci-stub, or that is a bridge by its PCI header. From 5.18 on the driver core counts the
 * drivers that use the kernel's DMA: all but those with `driver_managed_dma`, which sysfs does not
 * show.
 */

import { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { exists } from "./evidence.ts";
import { hasSince, kernelRelease } from "./kernel_release.ts";
import { headerType, PCI_HEADER_TYPE_NORMAL } from "../sysfs/pci_header.ts";
import { isVfioBound, readGroupDevices, type SysfsDevice } from "../sysfs/sysfs.ts";

/** A device of a group. */
export interface GroupMember {
  /** The device. */
  readonly device: SysfsDevice;
  /** Whether its driver keeps the group from user space; null if that cannot be known. */
  readonly holds: boolean | null;
}

/** PCI drivers with `driver_managed_dma` that are not VFIO's: all of them in Linux 6.12. */
const MANAGE_THEIR_DMA: readonly string[] = ["pci-stub", "pcieport"];

/** The devices of a group; null if sysfs cannot be read. */
export function groupMembers(kernel: Kernel, group: number): readonly GroupMember[] | null {
  const release = kernelRelease(kernel);
  try {
    return readGroupDevices(kernel, group)
      .map((device) => ({ device, holds: holdsGroup(kernel, device, release) }));
  } catch (error) {
    if (error instanceof SysError) return null;
    throw error;
  }
}

/**
 * Whether a device keeps its whole group from user space, by the rule of this release.
 *
 * @returns null if that cannot be known.
 */
export function holdsGroup(
  kernel: Kernel,
  device: SysfsDevice,
  release: string | null,
): boolean | null {
  const { driver } = device;
  if (driver === null) return false;
  if (isVfioBound(device)) return promised(kernel, device) ? null : false;
  switch (hasSince(release, 5, 18)) {
    case true:
      return usesKernelDma(kernel, device, driver);
    case false:
      return judgedByVfio(kernel, device, driver);
    case null: {
      const [one, other] = [usesKernelDma, judgedByVfio].map((rule) =>
        rule(kernel, device, driver)
      );
      return one === other ? one! : null;
    }
  }
}

/**
 * Whether a driver is VFIO's by its name alone, in a kernel that shows what VFIO makes of a device:
 * it has not yet, or the name says too much.
 */
function promised(kernel: Kernel, { bus, vfioDevices }: SysfsDevice): boolean {
  return bus !== "mdev" && vfioDevices.length === 0 &&
    exists(kernel, "/sys/class/vfio-dev") === true;
}

/** Until 5.17. */
function judgedByVfio(kernel: Kernel, device: SysfsDevice, driver: string): boolean | null {
  if (driver === "pci-stub") return false;
  if (device.bus !== "pci") return true;
  const type = headerType(kernel, device);
  return type === null ? null : type === PCI_HEADER_TYPE_NORMAL;
}

/**
 * From 5.18 on. Drivers of functions that came with Linux use the kernel's DMA, but for those above.
 * Drivers of bridges may come to manage DMA as pcieport does, and others may do anything.
 */
function usesKernelDma(kernel: Kernel, device: SysfsDevice, driver: string): boolean | null {
  if (device.bus !== "pci") return null;
  if (MANAGE_THEIR_DMA.includes(driver)) return false;
  const normal = headerType(kernel, device) === PCI_HEADER_TYPE_NORMAL;
  return normal && isOfLinux(kernel, device) ? true : null;
}

/** Whether a device's driver is one that came with the kernel: built in, or a module of its tree. */
function isOfLinux(kernel: Kernel, { path }: SysfsDevice): boolean {
  try {
    return !kernel.readText(`${path}/driver/module/taint`).includes("O");
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    // What is built in has no such file.
    return error.code === "ENOENT";
  }
}
