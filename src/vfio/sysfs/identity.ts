/**
 * The identity of a device, read from sysfs or, for a bare fd, from the device itself.
 *
 * @module
 */

import { SysError } from "../../kernel/sys_error.ts";
import type { Fd } from "../../kernel/fd.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import {
  VFIO_DEVICE_FLAGS_AMBA,
  VFIO_DEVICE_FLAGS_AP,
  VFIO_DEVICE_FLAGS_CCW,
  VFIO_DEVICE_FLAGS_FSL_MC,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_PLATFORM,
} from "../../uapi/mod.ts";
import type { Region } from "../device/region.ts";
import type { PciIds, SysfsDevice } from "./sysfs.ts";

/** The identity of a device: the same for all instances of its model. */
export interface VfioIdentity {
  /** Its bus: `pci`, `mdev`, `platform`, …; for a bare fd what its flags say; else `unknown`. */
  readonly bus: string;
  /** Its VFIO driver, or an mdev's parent driver if the mdev's own is generic; null: unknown. */
  readonly driver: string | null;
  /** PCI vendor id; null if it has none. */
  readonly vendorId: number | null;
  /** PCI device id. */
  readonly deviceId: number | null;
  /** PCI subsystem vendor id. */
  readonly subsystemVendorId: number | null;
  /** PCI subsystem id. */
  readonly subsystemId: number | null;
  /** The mdev's type; null if it is no mdev, or that is unknown. */
  readonly mdevType: string | null;
  /** The number of the vGPU type chosen for an NVIDIA virtual function; left out of all others. */
  readonly vgpuType?: string;
}

/** Before Linux 5.13 this driver was bound to every mdev, whatever it was. */
const GENERIC_MDEV_DRIVER = "vfio_mdev";

/** Offsets in PCI configuration space (linux/pci_regs.h). */
const PCI_VENDOR_ID = 0x00;
const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;

const BUS_FLAGS: readonly (readonly [flag: number, bus: string])[] = [
  [VFIO_DEVICE_FLAGS_PCI, "pci"],
  [VFIO_DEVICE_FLAGS_PLATFORM, "platform"],
  [VFIO_DEVICE_FLAGS_AMBA, "amba"],
  [VFIO_DEVICE_FLAGS_CCW, "ccw"],
  [VFIO_DEVICE_FLAGS_AP, "ap"],
  [VFIO_DEVICE_FLAGS_FSL_MC, "fsl-mc"],
];

/** Puts the identity together from what is known. */
export function identityOf(
  sysfs: SysfsDevice | null,
  flags: number,
  ids: PciIds | null,
): VfioIdentity {
  return {
    bus: sysfs?.bus ?? BUS_FLAGS.find(([flag]) => (flags & flag) !== 0)?.[1] ?? "unknown",
    driver: sysfs === null ? null : driverOf(sysfs),
    vendorId: ids?.vendorId ?? null,
    deviceId: ids?.deviceId ?? null,
    subsystemVendorId: ids?.subsystemVendorId ?? null,
    subsystemId: ids?.subsystemId ?? null,
    mdevType: sysfs?.mdevType ?? null,
    ...(sysfs === null || sysfs.vgpuType === null || sysfs.vgpuType === "0"
      ? {}
      : { vgpuType: sysfs.vgpuType }),
  };
}

/** The driver that says what a device is. */
export function driverOf({ bus, driver, parentDriver }: SysfsDevice): string | null {
  const generic = bus === "mdev" && driver === GENERIC_MDEV_DRIVER;
  return generic ? parentDriver ?? driver : driver;
}

/**
 * Reads the PCI ids from a device's configuration region.
 *
 * @returns null if it cannot be read, or reads as no device.
 */
export function readConfigIds(kernel: Kernel, fd: Fd, config: Region): PciIds | null {
  const ids = readPair(kernel, fd, config, PCI_VENDOR_ID);
  const subsystem = readPair(kernel, fd, config, PCI_SUBSYSTEM_VENDOR_ID);
  if (ids === null || ids[0] === 0 || ids[0] === 0xffff) return null;
  return {
    vendorId: ids[0],
    deviceId: ids[1],
    subsystemVendorId: subsystem?.[0] ?? 0,
    subsystemId: subsystem?.[1] ?? 0,
  };
}

/** Two u16, read as one aligned u32: drivers that emulate the space expect that width. */
function readPair(
  kernel: Kernel,
  fd: Fd,
  config: Region,
  at: number,
): readonly [number, number] | null {
  if (!config.readable || config.size < BigInt(at + 4)) return null;
  const bytes = new Uint8Array(new ArrayBuffer(4));
  try {
    if (kernel.pread(fd.number, bytes, config.offset + BigInt(at)) !== 4) return null;
  } catch (error) {
    if (error instanceof SysError) return null;
    throw error;
  }
  const view = new DataView(bytes.buffer);
  return [view.getUint16(0, true), view.getUint16(2, true)];
}
