/**
 * What sysfs says about a device: bus, driver, IOMMU group, ids. Nothing is
 * opened for it.
 *
 * @module
 */

import { isErrno } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { DEVICE_LINK } from "../../vfio_user/mod.ts";
import type { DeviceName } from "../open/device_name.ts";

/** The ids of a PCI function, as sysfs or its configuration space gives them. */
export interface PciIds {
  /** PCI vendor id. */
  readonly vendorId: number;
  /** PCI device id. */
  readonly deviceId: number;
  /** PCI subsystem vendor id. */
  readonly subsystemVendorId: number;
  /** PCI subsystem id. */
  readonly subsystemId: number;
}

/** A device's IOMMU group. */
export interface SysfsGroup {
  /** The group's number. */
  readonly number: number;
  /** The group's character device: `/dev/vfio/12`, `/dev/vfio/noiommu-12`. */
  readonly path: string;
  /** Whether no IOMMU stands behind it (VFIO's unsafe noiommu mode). */
  readonly noiommu: boolean;
}

/** A device as sysfs shows it. */
export interface SysfsDevice {
  /** Its folder, every link followed. */
  readonly path: string;
  /** Its name on its bus, as VFIO_GROUP_GET_DEVICE_FD wants it. */
  readonly name: string;
  /** Its bus: `pci`, `mdev`, `platform`, `ap`, …; `unknown` if there is no link. */
  readonly bus: string;
  /** The driver bound to it; null if there is none. */
  readonly driver: string | null;
  /** The driver of the device above it (an mdev's parent); null if there is none. */
  readonly parentDriver: string | null;
  /** Its IOMMU group; null if it has none. */
  readonly group: SysfsGroup | null;
  /** An mdev's type, such as `nvidia-63`; null for anything else. */
  readonly mdevType: string | null;
  /** PCI ids; null if sysfs shows none. */
  readonly ids: PciIds | null;
  /** PCI class code (24 bits); null if sysfs shows none. */
  readonly pciClass: number | null;
  /** Whether it is an SR-IOV virtual function. */
  readonly virtualFunction: boolean;
  /** The name of the physical function that it is of; null if it is no virtual one. */
  readonly physicalFunction: string | null;
  /** How many virtual functions it can have (`sriov_totalvfs`); null if it can have none. */
  readonly totalVfs: number | null;
  /** How many virtual functions it has (`sriov_numvfs`); null if it can have none. */
  readonly numVfs: number | null;
  /**
   * The number of its vGPU type, of a virtual function that NVIDIA's driver makes a vGPU of
   * (`nvidia/current_vgpu_type`): `0` while none is chosen; null for anything else.
   */
  readonly vgpuType: string | null;
  /** Names of its VFIO devices (`vfio0`), from kernel 6.1 on; else empty. */
  readonly vfioDevices: readonly string[];
  /**
   * The device's own character device, `/dev/vfio/devices/vfio0`; null if
   * the kernel has none (before 6.6, or without CONFIG_VFIO_DEVICE_CDEV).
   */
  readonly cdev: string | null;
}

/** The IOMMU groups, a folder for each. */
export const GROUPS = "/sys/kernel/iommu_groups";

/**
 * The sysfs folder that a name stands for.
 *
 * @throws {TypeError} For a name that is no device's in sysfs (`fd:`, `sim:`, a group).
 */
export function sysfsPath(name: DeviceName): string {
  switch (name.kind) {
    case "pci":
      return `/sys/bus/pci/devices/${name.address}`;
    case "mdev":
      return `/sys/bus/mdev/devices/${name.uuid}`;
    case "vfio":
      return `/sys/class/vfio-dev/${name.name}/device`;
    case "vfio-user":
      return DEVICE_LINK;
    case "sysfs":
      return name.path;
    default:
      throw new TypeError(`Cannot look up a name of kind "${name.kind}" in sysfs`);
  }
}

/**
 * Reads what sysfs says about a device.
 *
 * @param path Its folder, or a link to it; or that of what a driver made of it and a class lists,
 * such as `/sys/class/vfio-dev/vfio7`.
 * @returns null if there is no such folder, or it is not a device.
 * @throws {SysError} If sysfs cannot be read.
 */
export function readSysfsDevice(kernel: Kernel, path: string): SysfsDevice | null {
  const real = absentIsNull(() => kernel.realPath(path));
  if (real === null) return null;
  const subsystem = absentIsNull(() => kernel.readLink(`${real}/subsystem`));
  // A class lists what drivers made; the device that they made it of is on a bus.
  if (subsystem !== null && /(^|\/)class\//.test(subsystem)) {
    return absentIsNull(() => kernel.readLink(`${real}/device`)) === null
      ? null
      : readSysfsDevice(kernel, `${real}/device`);
  }
  const bus = subsystem === null ? null : baseName(subsystem);
  const group = readGroup(kernel, real, bus);
  if (bus === null && group === null) return null;
  const vfioDevices = absentIsNull(() => kernel.readDir(`${real}/vfio-dev`)) ?? [];
  const physicalFunction = linkName(kernel, `${real}/physfn`);
  return {
    path: real,
    name: baseName(real),
    bus: bus ?? "unknown",
    driver: linkName(kernel, `${real}/driver`),
    parentDriver: linkName(kernel, `${dirName(real)}/driver`),
    group,
    mdevType: linkName(kernel, `${real}/mdev_type`),
    ids: readIds(kernel, real),
    pciClass: readHex(kernel, `${real}/class`),
    virtualFunction: physicalFunction !== null,
    physicalFunction,
    totalVfs: readCount(kernel, `${real}/sriov_totalvfs`),
    numVfs: readCount(kernel, `${real}/sriov_numvfs`),
    vgpuType: readCount(kernel, `${real}/nvidia/current_vgpu_type`)?.toString() ?? null,
    vfioDevices,
    cdev: readCdev(kernel, real, vfioDevices),
  };
}

/** The folder of the nodes of VFIO devices. */
const CDEVS = "/dev/vfio/devices";

/** The device whose own character device this is; null for another path, and if it is gone. */
export function readCdevDevice(kernel: Kernel, node: string): SysfsDevice | null {
  const name = cdevName(node);
  return name === null ? null : readSysfsDevice(kernel, sysfsPath({ kind: "vfio", name }));
}

/** The name in the path of a VFIO device's own node, `/dev/vfio/devices/vfio7`; null for another. */
export function cdevName(node: string): string | null {
  const name = node.slice(CDEVS.length + 1);
  return node === `${CDEVS}/${name}` && /^[\w-]+$/.test(name) ? name : null;
}

/** The devices of an IOMMU group; what disappears meanwhile is left out. */
export function readGroupDevices(kernel: Kernel, group: number): SysfsDevice[] {
  const folder = `${GROUPS}/${group}/devices`;
  const names = absentIsNull(() => kernel.readDir(folder)) ?? [];
  return names.map((name) => readSysfsDevice(kernel, `${folder}/${name}`)).filter((device) =>
    device !== null
  );
}

/** The number in a group's path, `/dev/vfio/12` or `/dev/vfio/noiommu-12`; null for another path. */
export function groupNumberOf(path: string): number | null {
  const match = /^\/dev\/vfio\/(?:noiommu-)?([0-9]{1,9})$/.exec(path);
  return match === null ? null : Number(match[1]);
}

/**
 * Whether a device is bound to a VFIO driver, as far as sysfs tells: an mdev
 * with any driver; a device that has a VFIO device (kernel 6.1 and
 * later); or a driver that has the word `vfio` in its name, as all of Linux's have.
 */
export function isVfioBound(device: SysfsDevice): boolean {
  if (device.driver === null) return false;
  return device.bus === "mdev" || device.vfioDevices.length > 0 || VFIO_DRIVER.test(device.driver);
}

const VFIO_DRIVER = /(^|[-_])vfio([-_]|$)/i;

function readGroup(kernel: Kernel, path: string, bus: string | null): SysfsGroup | null {
  const name = linkName(kernel, `${path}/iommu_group`);
  if (name === null || !/^[0-9]{1,9}$/.test(name)) return null;
  const type = absentIsNull(() => kernel.readText(`${GROUPS}/${name}/name`))?.trim();
  // Since Linux 5.16 the groups that VFIO makes for emulated devices bear this name, too.
  const noiommu = type === "vfio-noiommu" && (namedNoiommu(kernel, name) ?? bus !== "mdev");
  return {
    number: Number(name),
    path: `/dev/vfio/${noiommu ? "noiommu-" : ""}${name}`,
    noiommu,
  };
}

/** Whether VFIO calls a group one without an IOMMU; null if it has not made it. */
function namedNoiommu(kernel: Kernel, name: string): boolean | null {
  const made = (group: string): boolean =>
    absentIsNull(() => kernel.realPath(`/sys/class/vfio/${group}`)) !== null;
  if (made(`noiommu-${name}`)) return true;
  return made(name) ? false : null;
}

/** A VFIO device that can be opened by itself has a number in sysfs. */
function readCdev(kernel: Kernel, path: string, vfioDevices: readonly string[]): string | null {
  const name = vfioDevices.find((name) =>
    absentIsNull(() => kernel.readText(`${path}/vfio-dev/${name}/dev`)) !== null
  );
  return name === undefined ? null : `${CDEVS}/${name}`;
}

function readIds(kernel: Kernel, path: string): PciIds | null {
  const vendorId = readHex(kernel, `${path}/vendor`);
  const deviceId = readHex(kernel, `${path}/device`);
  if (vendorId === null || deviceId === null) return null;
  return {
    vendorId,
    deviceId,
    subsystemVendorId: readHex(kernel, `${path}/subsystem_vendor`) ?? 0,
    subsystemId: readHex(kernel, `${path}/subsystem_device`) ?? 0,
  };
}

function readHex(kernel: Kernel, path: string): number | null {
  const text = absentIsNull(() => kernel.readText(path))?.trim() ?? "";
  return /^0x[0-9a-f]{1,8}$/i.test(text) ? Number(text) : null;
}

function readCount(kernel: Kernel, path: string): number | null {
  const text = absentIsNull(() => kernel.readText(path))?.trim() ?? "";
  return /^[0-9]{1,9}$/.test(text) ? Number(text) : null;
}

function linkName(kernel: Kernel, path: string): string | null {
  const target = absentIsNull(() => kernel.readLink(path));
  return target === null ? null : baseName(target);
}

/** Null for what is not there, and for a file in place of a link or a folder. */
export function absentIsNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EINVAL", "EISDIR", "ENODEV", "ENXIO")) return null;
    throw error;
  }
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function dirName(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
