/**
 * Lists the devices that are VFIO devices, or could be, without opening any.
 *
 * @module
 */

import { SysError } from "../kernel/sys_error.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { libcKernel } from "../kernel/libc/libc_kernel.ts";
import { sysfsReasons } from "./open/open.ts";
import { explainOpening } from "./open/explain_opening.ts";
import {
  bridge,
  isPhysical,
  isPlain,
  needsVariantDriver,
  noMigration,
  notBound,
} from "./reasons/driver_reasons.ts";
import { exists } from "./reasons/evidence.ts";
import { holdersByNode, holdersOf } from "./reasons/holders.ts";
import { kernelRelease } from "./reasons/kernel_release.ts";
import { noIommuGroup, noSysfs } from "./reasons/reasons.ts";
import { type Holder, type Reason, UnsupportedError } from "./reasons/unsupported_error.ts";
import { driverOf } from "./sysfs/identity.ts";
import { bridgeKind } from "./sysfs/pci_header.ts";
import {
  absentIsNull,
  GROUPS,
  isVfioBound,
  type PciIds,
  readSysfsDevice,
  type SysfsDevice,
} from "./sysfs/sysfs.ts";
import { lacksMigration, type VariantDriver, variantDriver } from "./sysfs/variant_driver.ts";

/** A device of the list. */
export interface ListedDevice {
  /** Its name, as `parseDeviceName` takes it: of a device that is no PCI function or mdev, its path in sysfs. */
  readonly device: string;
  /** Its bus: `pci`, `mdev`, `platform`, …. */
  readonly bus: string;
  /** The driver bound to it, or an mdev's parent driver if its own is generic; null if there is none. */
  readonly driver: string | null;
  /** Its PCI ids; null if it has none. */
  readonly ids: PciIds | null;
  /** An mdev's type; null of anything else. */
  readonly mdevType: string | null;
  /** The physical function of a virtual one; null of anything else. */
  readonly physicalFunction: string | null;
  /** Its IOMMU group; null if it has none. */
  readonly group: number | null;
  /** The names of the other devices in its group. */
  readonly groupDevices: readonly string[];
  /** The node that it is opened by: its own character device, or its group's; null if VFIO has none. */
  readonly node: string | null;
  /** The migration protocol, as far as debugfs or the driver's name tells; null if they do not. */
  readonly protocol: "v2" | null;
  /** Whether it can be migrated; null if that shows only once it is open. */
  readonly migratable: boolean | null;
  /** Why it cannot; null if it can, or that is unknown. */
  readonly reason: Reason | null;
  /** The processes that have it open: it, or its group. Other users' processes may stay unseen. */
  readonly holders: readonly Holder[];
}

/** What {@linkcode listDevices} found. */
export interface DeviceList {
  /** The devices: by bus and name, virtual functions after their physical one. */
  readonly devices: readonly ListedDevice[];
  /** How many devices were left out, because nothing of VFIO concerns them. */
  readonly leftOut: number;
}

/** What to list. */
export interface ListOptions {
  /**
   * Whether to list every PCI function and every device in an IOMMU group. Default: false, those
   * bound to a VFIO driver, mdevs, virtual functions and what has them, and functions that Linux
   * has a VFIO driver for besides vfio-pci.
   */
  readonly all?: boolean | undefined;
  /** The kernel to look in; by default the running one. */
  readonly kernel?: Kernel | undefined;
}

/**
 * Lists devices by what sysfs, debugfs and /proc say. Opens no device and no group.
 *
 * @throws {UnsupportedError} If there is no sysfs, or it may not be read.
 * @throws {OpenError} If sysfs cannot be read for another reason.
 *
 * @example
 * ```ts
 * import { listDevices } from "vfiokit/vfio";
 * import { SimKernel } from "vfiokit/sim";
 * import assert from "node:assert/strict";
 *
 * const { devices } = listDevices({ kernel: new SimKernel("sim:mlx5") });
 * assert.deepEqual(devices.map(({ bus, node }) => [bus, node]), [["pci", "/dev/vfio/0"]]);
 * ```
 */
export function listDevices({ all = false, kernel = libcKernel() }: ListOptions = {}): DeviceList {
  if (exists(kernel, "/sys/bus") === false) throw new UnsupportedError([noSysfs(null)]);
  try {
    const found = findDevices(kernel);
    const list = new Lister(kernel, found);
    const shown = found.filter((device) => all || list.concerns(device));
    return {
      devices: shown.toSorted(inOrder).map((device) => list.describe(device)),
      leftOut: found.length - shown.length,
    };
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw explainOpening("read sysfs", error, { kernel });
  }
}

/** Folders whose entries are devices, or lead to one. */
const FOLDERS = ["/sys/bus/pci/devices", "/sys/bus/mdev/devices", "/sys/class/vfio-dev"];

/** Every device of the folders and the groups, once. */
function findDevices(kernel: Kernel): SysfsDevice[] {
  const names = (folder: string): string[] => absentIsNull(() => kernel.readDir(folder)) ?? [];
  const groups = names(GROUPS).map((group) => `${GROUPS}/${group}/devices`);
  const paths = new Set(
    [...FOLDERS, ...groups].flatMap((folder) =>
      names(folder).map((name) => absentIsNull(() => kernel.realPath(`${folder}/${name}`)))
    ),
  );
  const devices = [...paths].flatMap((path) =>
    path === null ? [] : readSysfsDevice(kernel, path) ?? []
  );
  return [...new Map(devices.map((device) => [device.path, device])).values()];
}

/** By bus, then by name, a virtual function right after its physical one. */
function inOrder(a: SysfsDevice, b: SysfsDevice): number {
  const key = ({ bus, name, physicalFunction }: SysfsDevice): string =>
    `${bus} ${physicalFunction ?? name} ${physicalFunction === null ? "" : name}`;
  return key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0;
}

/** Describes devices, and reads what they have in common once. */
class Lister {
  readonly #kernel: Kernel;
  readonly #holders: ReadonlyMap<string, readonly Holder[]>;
  readonly #groups: ReadonlyMap<number, readonly SysfsDevice[]>;
  readonly #variants: Map<string, VariantDriver> = new Map();
  readonly #release: string | null;

  constructor(kernel: Kernel, devices: readonly SysfsDevice[]) {
    this.#kernel = kernel;
    this.#holders = holdersByNode(kernel);
    this.#release = kernelRelease(kernel);
    const grouped = devices.filter(({ group }) => group !== null);
    this.#groups = Map.groupBy(grouped, ({ group }) => group!.number);
  }

  /** Whether a device is a VFIO device, or is made to be one. */
  concerns(device: SysfsDevice): boolean {
    if (isVfioBound(device) || device.bus === "mdev") return true;
    if (bridgeKind(this.#kernel, device) !== null) return false;
    return device.virtualFunction || isPhysical(device) ||
      (device.bus === "pci" && this.#variant(device).kind === "known");
  }

  describe(device: SysfsDevice): ListedDevice {
    const { bus, ids, mdevType, physicalFunction, group, path } = device;
    const bound = isVfioBound(device);
    const migration = bound ? this.#migration(device) : null;
    const reason = migration === true ? null : this.#reason(device, bound);
    const others = group === null ? [] : this.#groups.get(group.number) ?? [];
    const nodes = bound ? [device.cdev, group?.path].filter((node) => node != null) : [];
    return {
      device: bus === "pci" || bus === "mdev" ? device.name : path,
      bus,
      driver: driverOf(device),
      ids,
      mdevType,
      physicalFunction,
      group: group?.number ?? null,
      groupDevices: others.filter((other) => other.path !== path).map(({ name }) => name),
      node: nodes[0] ?? null,
      protocol: migration === true || this.#isVariant(device) ? "v2" : null,
      migratable: migration === true ? true : reason === null ? null : false,
      reason,
      holders: holdersOf(this.#holders, nodes),
    };
  }

  /** Whether debugfs shows that it migrates by v2 (Linux 6.8 and later); null if it does not tell. */
  #migration({ name }: SysfsDevice): true | null {
    const file = `/sys/kernel/debug/vfio/${name}/migration/state`;
    return exists(this.#kernel, file) === true ? true : null;
  }

  /** Whether a device has the driver that Linux has for it, which migrates it. */
  #isVariant(device: SysfsDevice): boolean {
    if (device.bus !== "pci" || device.driver === null) return false;
    const variant = this.#variant(device);
    return variant.kind === "known" && variant.driver === device.driver;
  }

  #reason(device: SysfsDevice, bound: boolean): Reason | null {
    if (!bound) return this.#unbound(device);
    if (isPlain(device)) return needsVariantDriver(device, this.#variant(device));
    if (device.driver !== null && lacksMigration(device.driver, this.#release)) {
      return noMigration(device, device.driver);
    }
    return sysfsReasons(this.#kernel, device).find(({ blocks }) => blocks) ?? null;
  }

  #unbound(device: SysfsDevice): Reason {
    const bridged = bridgeKind(this.#kernel, device);
    if (bridged !== null) return bridge(device, bridged);
    if (device.bus === "pci" && device.group === null) return noIommuGroup(device);
    return notBound(device, this.#variant(device));
  }

  /** The driver made for a function: the same for all functions of a model. */
  #variant(device: SysfsDevice): VariantDriver {
    const model = JSON.stringify([device.ids, device.pciClass]);
    const known = this.#variants.get(model) ?? variantDriver(this.#kernel, device);
    this.#variants.set(model, known);
    return known;
  }
}
