/**
 * VFIO_DEVICE_FEATURE: probing, reading and writing a device's features.
 *
 * @module
 */

import { SysError } from "../../kernel/sys_error.ts";
import {
  type StructCodec,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_BUS_MASTER,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
  vfioDeviceFeature,
  vfioDeviceFeatureMigration,
} from "../../uapi/mod.ts";
import { ioctl } from "../ioctl.ts";
import type { VfioDevice } from "./device.ts";
import type { DriverNotes } from "../notes/driver_notes.ts";

/** A feature's number, and its C name without `VFIO_DEVICE_FEATURE_`, for messages. */
export interface Feature {
  /** VFIO_DEVICE_FEATURE_*. */
  readonly number: number;
  /** Such as `MIG_DEVICE_STATE`. */
  readonly name: string;
}

/** How a device migrates; read only. */
export const MIGRATION: Feature = { number: VFIO_DEVICE_FEATURE_MIGRATION, name: "MIGRATION" };

/** The v2 migration state; read and written. */
export const MIG_DEVICE_STATE: Feature = {
  number: VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  name: "MIG_DEVICE_STATE",
};

/** The estimated size of the STOP_COPY data; read only. */
export const MIG_DATA_SIZE: Feature = {
  number: VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  name: "MIG_DATA_SIZE",
};

/** Opts in to the flags of the precopy info; written, without a struct. */
export const MIG_PRECOPY_INFO_V2: Feature = {
  number: VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  name: "MIG_PRECOPY_INFOv2",
};

/** Starts the device's log of its DMA; written. */
export const DMA_LOGGING_START: Feature = {
  number: VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  name: "DMA_LOGGING_START",
};

/** Stops that log; written, without a struct. */
export const DMA_LOGGING_STOP: Feature = {
  number: VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  name: "DMA_LOGGING_STOP",
};

/** The contents of that log; read. */
export const DMA_LOGGING_REPORT: Feature = {
  number: VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  name: "DMA_LOGGING_REPORT",
};

/** The features that {@linkcode listFeatures} probes, each with the access to probe. */
const LISTED: readonly (readonly [Feature, "get" | "set"])[] = [
  [MIGRATION, "get"],
  [MIG_DEVICE_STATE, "set"],
  [MIG_DATA_SIZE, "get"],
  [MIG_PRECOPY_INFO_V2, "set"],
  [DMA_LOGGING_START, "set"],
  [DMA_LOGGING_STOP, "set"],
  [DMA_LOGGING_REPORT, "get"],
  [{ number: VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, name: "LOW_POWER_ENTRY" }, "set"],
  [
    {
      number: VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
      name: "LOW_POWER_ENTRY_WITH_WAKEUP",
    },
    "set",
  ],
  [{ number: VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, name: "LOW_POWER_EXIT" }, "set"],
  [{ number: VFIO_DEVICE_FEATURE_BUS_MASTER, name: "BUS_MASTER" }, "set"],
];

/** Whether a device has a feature. */
export interface FeatureReport {
  /** The feature's C name without `VFIO_DEVICE_FEATURE_`. */
  readonly name: string;
  /** Whether the device has it. */
  readonly supported: boolean;
  /** The errno of the probe, ENOTTY for an unknown feature; null if the device has it. */
  readonly errno: string | null;
}

/** What a v2 device's migration can do: VFIO_MIGRATION_*. */
export type MigrationFlag = "STOP_COPY" | "P2P" | "PRE_COPY";

/** The part of a device that a feature request needs. */
export type FeatureDevice = Pick<VfioDevice, "fd">;

function request(
  { fd }: FeatureDevice,
  { number, name }: Feature,
  flags: number,
  payload: Uint8Array | null,
): Uint8Array<ArrayBuffer> {
  const size = vfioDeviceFeature.size + (payload?.length ?? 0);
  const argument = new Uint8Array(new ArrayBuffer(size));
  vfioDeviceFeature.pack({ argsz: size, flags: (number | flags) >>> 0 }, argument);
  if (payload !== null) argument.set(payload, vfioDeviceFeature.size);
  // A write may have taken effect before a signal interrupts it: do not repeat it.
  const once = (flags & VFIO_DEVICE_FEATURE_SET) !== 0 ? "once" : undefined;
  ioctl(fd, { [`VFIO_DEVICE_FEATURE ${name}`]: VFIO_DEVICE_FEATURE }, argument, once);
  return argument;
}

/**
 * Asks whether a feature can be read or written.
 *
 * @returns null if it can; else the errno's name, ENOTTY if the device does not know it.
 */
export function probeFeature(
  device: FeatureDevice,
  feature: Feature,
  access: "get" | "set",
): string | null {
  const direction = access === "get" ? VFIO_DEVICE_FEATURE_GET : VFIO_DEVICE_FEATURE_SET;
  try {
    request(device, feature, VFIO_DEVICE_FEATURE_PROBE | direction, null);
    return null;
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

/**
 * Reads a feature.
 *
 * @param value The struct's fields before the call, for features that have inputs.
 * @throws {SysError} ENOTTY if the device does not have it.
 */
export function getFeature<T extends object>(
  device: FeatureDevice,
  feature: Feature,
  codec: StructCodec<T>,
  value: Partial<T> = {},
): T {
  const answer = request(device, feature, VFIO_DEVICE_FEATURE_GET, codec.pack(value));
  return codec.unpack(answer, vfioDeviceFeature.size);
}

/**
 * Writes a feature.
 *
 * @returns The struct as the kernel left it.
 * @throws {SysError} If the ioctl fails. The struct's contents are then not valid.
 */
export function setFeature<T extends object>(
  device: FeatureDevice,
  feature: Feature,
  codec: StructCodec<T>,
  value: Partial<T>,
): T {
  const answer = request(device, feature, VFIO_DEVICE_FEATURE_SET, codec.pack(value));
  return codec.unpack(answer, vfioDeviceFeature.size);
}

/**
 * Writes a feature that has no struct, which triggers its action.
 *
 * @throws {SysError} If the ioctl fails.
 */
export function triggerFeature(device: FeatureDevice, feature: Feature): void {
  request(device, feature, VFIO_DEVICE_FEATURE_SET, null);
}

/** Probes each feature that matters to migration, and a few more. */
export function listFeatures(device: FeatureDevice): FeatureReport[] {
  return LISTED.map(([feature, access]) => {
    const errno = probeFeature(device, feature, access);
    return { name: feature.name, supported: errno === null, errno };
  });
}

/** The device's VFIO_MIGRATION_* flags, or'ed; null if it does not speak v2. */
export function readMigrationFlags(
  device: FeatureDevice & Partial<Pick<VfioDevice, "notes">>,
): number | null {
  try {
    const { flags } = getFeature(device, MIGRATION, vfioDeviceFeatureMigration);
    return Number(BigInt.asUintN(32, flags));
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const { code, message } = error;
    // Linux answers one of these if there is no such feature.
    if (code !== "ENOTTY" && code !== "EINVAL") {
      device.notes?.add("migration-flags-failed", () => message);
    }
    return null;
  }
}

/** Every VFIO_MIGRATION_* flag. */
const MIGRATION_FLAGS = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY;

/** Notes combinations of VFIO_MIGRATION_* flags that are not allowed. */
export function noteMigrationFlags(flags: number, notes: DriverNotes): void {
  const seen = (): string => `the MIGRATION feature's flags were 0x${flags.toString(16)}`;
  if ((flags & ~MIGRATION_FLAGS) !== 0) notes.add("flags-undefined", seen);
  if ((flags & VFIO_MIGRATION_STOP_COPY) === 0) notes.add("flags-no-stop-copy", seen);
}

/**
 * The names of VFIO_MIGRATION_* flags; those that are not known are left out.
 *
 * @example
 * ```ts
 * import { migrationFlagNames } from "./feature.ts";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(migrationFlagNames(0b101), ["STOP_COPY", "PRE_COPY"]);
 * ```
 */
export function migrationFlagNames(flags: number): MigrationFlag[] {
  const names: readonly (readonly [number, MigrationFlag])[] = [
    [VFIO_MIGRATION_STOP_COPY, "STOP_COPY"],
    [VFIO_MIGRATION_P2P, "P2P"],
    [VFIO_MIGRATION_PRE_COPY, "PRE_COPY"],
  ];
  return names.filter(([flag]) => (flags & flag) !== 0).map(([, name]) => name);
}
