/**
 * Probes a device: its identity, whether it can migrate, and if not, why and what to do.
 *
 * @module
 */

import { cleanlyThen } from "../base/cleanup.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { exists } from "./reasons/evidence.ts";
import { AnswerError } from "./device/answer_error.ts";
import type { OpenVia, VfioDevice } from "./device/device.ts";
import type { DriverNote } from "./notes/driver_notes.ts";
import { type DeviceName, formatDeviceName, parseDeviceName } from "./open/device_name.ts";
import {
  type FeatureReport,
  listFeatures,
  type MigrationFlag,
  migrationFlagNames,
  noteMigrationFlags,
  readMigrationFlags,
} from "./device/feature.ts";
import { driverOf, type VfioIdentity } from "./sysfs/identity.ts";
import { IOMMUFD_PATH } from "./dma/iommufd.ts";
import { absence, findDevice } from "./open/find_device.ts";
import { kernelOf, nameIn } from "./open/kernel_for.ts";
import {
  type DataSectionKind,
  dataSectionKind,
  findMigrationRegion,
  migrationReasons,
  noteSparseAreas,
} from "./device/migration_region.ts";
import { endTrace, type SharedTrace } from "../trace/mod.ts";
import { openVfioDevice, type OpenVfioOptions, sysfsReasons } from "./open/open.ts";
import { isPlain, needsVariantDriver } from "./reasons/driver_reasons.ts";
import { variantDriver } from "./sysfs/variant_driver.ts";
import { quirkFor, type QuirkName } from "./device/quirk.ts";
import { brokenAnswer, busy, noReset } from "./reasons/reasons.ts";
import type { Region } from "./device/region.ts";
import type { SysfsDevice } from "./sysfs/sysfs.ts";
import { draftDirtyTracking, noDirtyCapability } from "./reasons/tracking_reasons.ts";
import {
  BusyError,
  type Reason,
  type ReasonCode,
  UnsupportedError,
} from "./reasons/unsupported_error.ts";

/** How to probe. */
export interface ProbeOptions extends OpenVfioOptions {
  /** Whether to open the device; false reads sysfs only. Default: true. */
  readonly open?: boolean | undefined;
  /** The kernel to look in; by default the one that the name belongs to. */
  readonly kernel?: Kernel | undefined;
  /** Where to report each call to the kernel. */
  readonly trace?: SharedTrace | undefined;
}

/** Whether the type1 IOMMU tells which pages a device wrote. */
export interface DirtyReport {
  /** Whether it does; null if that is not known: without a container it cannot be asked. */
  readonly tracks: boolean | null;
  /** The page sizes it tracks by, in bytes. */
  readonly pgsizes: readonly number[];
  /** Bytes of the largest bitmap one call may ask for; null if it does not track. */
  readonly maxBitmapBytes: number | null;
}

/** How a device can be opened, and how it was. */
export interface AccessReport {
  /** How it was opened; null if it was not, or that is not known of a borrowed one. */
  readonly via: OpenVia | null;
  /** Its own character device; null if it is not there, or that is not known. */
  readonly cdev: string | null;
  /** `/dev/iommu`; null if it is not there. */
  readonly iommufd: string | null;
  /** Why it was opened by its group and not by its character device; null if it was not. */
  readonly whyNotCdev: string | null;
}

/** What {@linkcode probe} found. */
export interface ProbeReport {
  /** The name that was asked for. */
  readonly device: string;
  /** Whether the device was opened for this. */
  readonly opened: boolean;
  /** Its bus; null if there is no such device. */
  readonly bus: string | null;
  /** Its driver; null if it has none, or that is unknown. */
  readonly driver: string | null;
  /** Its IOMMU group; null if it has none, or that is unknown. */
  readonly group: number | null;
  /** By which nodes it can be opened, and was. */
  readonly access: AccessReport;
  /** What it is; null if it was not opened. */
  readonly identity: VfioIdentity | null;
  /** How it migrates; null if it does not, or that is unknown. */
  readonly protocol: "v1" | "v2" | null;
  /** Whether it can be migrated; null if it could not be looked at. */
  readonly migratable: boolean | null;
  /** v1: where the migration data is; null if there is none. */
  readonly dataSection: DataSectionKind | null;
  /** v2: what the driver can do; null if it does not speak v2, or that is unknown. */
  readonly migrationFlags: readonly MigrationFlag[] | null;
  /** The quirk profile of its driver; null if it follows the text. */
  readonly quirk: QuirkName | null;
  /** Whether it says that it can be reset; null if that is unknown. */
  readonly resettable: boolean | null;
  /** Why it cannot be migrated (`blocks`), and what else is worth knowing. */
  readonly reasons: readonly Reason[];
  /** What it has beside its regions; empty if it was not opened. */
  readonly features: readonly FeatureReport[];
  /** Its regions, those of size 0 too. */
  readonly regions: readonly Region[];
  /** The IOMMU's dirty page tracking. */
  readonly dirty: DirtyReport;
  /** What probing itself did, or could not do. */
  readonly notes: readonly string[];
  /** What its driver did against the rules, as far as a device shows it that is only looked at. */
  readonly driverNotes: readonly DriverNote[];
}

const UNKNOWN_DIRTY: DirtyReport = { tracks: null, pgsizes: [], maxBitmapBytes: null };

/**
 * Looks at a device: opens it (unless told not to), reads what it says of
 * itself, closes it again. Opening a PCI device may reset it; a borrowed one
 * (`fd:N`) is only asked.
 *
 * @param name Its name, as for `parseDeviceName`.
 * @throws {DeviceNameError} If the name cannot be one.
 * @throws {SimSpecError} If it is `sim:` and no simulated device.
 * @throws {OpenError} If it cannot be opened this time, for a reason that says nothing of it.
 *
 * @example
 * ```ts
 * import { probe } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * assert.equal(probe("sim:mapped").dataSection, "mapped");
 * assert.equal(probe("sim:mlx5").protocol, "v2");
 * assert.equal(probe("sim:none").reasons[0]?.code, "no-migration");
 * ```
 */
export function probe(name: string, options: ProbeOptions = {}): ProbeReport {
  const parsed = parseDeviceName(name);
  const kernel = kernelOf(parsed, options);
  return cleanlyThen(() => look(parsed, kernel, options), () => endTrace(kernel));
}

function look(parsed: DeviceName, kernel: Kernel, options: ProbeOptions): ProbeReport {
  let sysfs: SysfsDevice | null = null;
  const closed = (reasons: readonly Reason[], migratable: false | null): ProbeReport => ({
    device: formatDeviceName(parsed),
    opened: false,
    bus: sysfs?.bus ?? null,
    driver: sysfs === null ? null : driverOf(sysfs),
    group: sysfs?.group?.number ?? null,
    access: accessOf(kernel, sysfs, null),
    identity: null,
    protocol: null,
    migratable,
    dataSection: null,
    migrationFlags: null,
    quirk: sysfs === null ? null : quirkFor({ ...sysfs, driver: driverOf(sysfs) }),
    resettable: null,
    reasons,
    features: [],
    regions: [],
    dirty: UNKNOWN_DIRTY,
    notes: [],
    driverNotes: [],
  });
  try {
    sysfs = findDevice(kernel, parsed);
  } catch (error) {
    if (error instanceof UnsupportedError) return closed(error.reasons, null);
    throw error;
  }
  if (options.open === false) {
    const reasons = staticReasons(kernel, parsed, sysfs);
    return {
      ...closed(reasons, reasons.some(({ blocks }) => blocks) ? false : null),
      notes: ["Not opened: whether it migrates shows only when it is"],
    };
  }
  let device: VfioDevice;
  try {
    device = openVfioDevice(kernel, parsed, options);
  } catch (error) {
    if (error instanceof UnsupportedError) {
      return closed(error.reasons, error.reasons.every(saysNothing) ? null : false);
    }
    if (error instanceof BusyError) return closed([busy(error.message), ...error.reasons], null);
    if (error instanceof AnswerError) return closed([brokenAnswer(error.message)], false);
    throw error;
  }
  return cleanlyThen(() => describe(formatDeviceName(parsed), device), () => device.close());
}

/** The reasons that concern the caller's rights or options, or a server, and not the device. */
const NOT_OF_THE_DEVICE: readonly ReasonCode[] = [
  "no-permission",
  "vf-token",
  "sysfs-unreadable",
  "no-server",
  "not-vfio-user",
];

function saysNothing({ code }: Reason): boolean {
  return NOT_OF_THE_DEVICE.includes(code);
}

function accessOf(
  kernel: Kernel,
  sysfs: SysfsDevice | null,
  device: VfioDevice | null,
): AccessReport {
  const cdev = sysfs?.cdev ?? null;
  return {
    via: device?.via ?? null,
    // In a container sysfs may show what /dev does not have.
    cdev: cdev === null || exists(kernel, cdev) === false ? null : cdev,
    iommufd: exists(kernel, IOMMUFD_PATH) === true ? IOMMUFD_PATH : null,
    whyNotCdev: device?.whyNotCdev?.message ?? null,
  };
}

function staticReasons(kernel: Kernel, name: DeviceName, sysfs: SysfsDevice | null): Reason[] {
  if (sysfs !== null) return [...sysfsReasons(kernel, sysfs), ...plainReasons(kernel, sysfs)];
  return ["fd", "vfio-user"].includes(nameIn(kernel, name).kind) ? [] : [absence(kernel, name)];
}

/** Why a device does not migrate, if that is certain without opening it. */
function plainReasons(kernel: Kernel, sysfs: SysfsDevice): Reason[] {
  return isPlain(sysfs) ? [needsVariantDriver(sysfs, variantDriver(kernel, sysfs))] : [];
}

function describe(name: string, device: VfioDevice): ProbeReport {
  const identity = device.identity();
  const { regions, broken } = readableRegions(device);
  const { dirty, reasons: dirtyReasons } = describeDirty(device);
  const blocking = migrationReasons(device);
  const migrates = blocking.length === 0;
  const region = migrates ? findMigrationRegion(device) : null;
  const flags = region === null ? readMigrationFlags(device) : null;
  if (region !== null) noteSparseAreas(region, device.notes);
  if (flags !== null) noteMigrationFlags(flags, device.notes);
  const known = new Set(blocking.map(({ message }) => message));
  return {
    device: name,
    opened: true,
    bus: identity.bus,
    driver: identity.driver,
    group: device.group?.number ?? device.sysfs?.group?.number ?? null,
    access: accessOf(device.kernel, device.sysfs, device),
    identity,
    protocol: region !== null ? "v1" : flags !== null ? "v2" : null,
    migratable: migrates,
    dataSection: region === null ? null : dataSectionKind(region),
    migrationFlags: flags === null ? null : migrationFlagNames(flags),
    quirk: quirkFor(identity),
    resettable: device.resettable,
    reasons: [
      ...blocking,
      ...broken.filter(({ message }) => !known.has(message)),
      ...(migrates ? dirtyReasons : []),
      ...(migrates && !device.resettable ? [noReset()] : []),
    ],
    features: listFeatures(device),
    regions,
    dirty,
    notes: openingNotes(device),
    driverNotes: device.notes.list(),
  };
}

/** The regions that can be described, and what is wrong with the others. */
function readableRegions(
  device: VfioDevice,
): { readonly regions: Region[]; readonly broken: Reason[] } {
  const regions: Region[] = [];
  const broken: Reason[] = [];
  for (let index = 0; index < device.numRegions; index++) {
    try {
      const region = device.regionOrNull(index);
      if (region !== null) regions.push(region);
    } catch (error) {
      if (!(error instanceof AnswerError)) throw error;
      broken.push({ ...brokenAnswer(error.message), blocks: false });
    }
  }
  return { regions, broken };
}

function describeDirty(
  device: VfioDevice,
): { readonly dirty: DirtyReport; readonly reasons: Reason[] } {
  if (device.container === null) return { dirty: UNKNOWN_DIRTY, reasons: [] };
  try {
    const { migration, draftDirtyPages } = device.container.info();
    if (migration === null) {
      return {
        dirty: { tracks: false, pgsizes: [], maxBitmapBytes: null },
        reasons: [draftDirtyPages ? draftDirtyTracking() : noDirtyCapability()],
      };
    }
    const { pgsizes, maxBitmapBytes } = migration;
    return { dirty: { tracks: true, pgsizes: bitSizes(pgsizes), maxBitmapBytes }, reasons: [] };
  } catch (error) {
    if (!(error instanceof AnswerError)) throw error;
    return { dirty: UNKNOWN_DIRTY, reasons: [{ ...brokenAnswer(error.message), blocks: false }] };
  }
}

/** The sizes in a page size bitmap: bit n stands for 2^n bytes. */
function bitSizes(bitmap: bigint): number[] {
  return Array.from({ length: 64 }, (_, bit) => bit)
    .filter((bit) => (bitmap >> BigInt(bit) & 1n) === 1n)
    .map((bit) => 2 ** bit);
}

function openingNotes(device: VfioDevice): string[] {
  if (device.borrowed || device.sysfs?.bus !== "pci") return [];
  return ["Opening a PCI device may reset it; a probe without opening it reads sysfs only"];
}
