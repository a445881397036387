/**
 * The v1 migration region: finding it, checking that it is usable, and how its data is accessed.
 *
 * @module
 */

import {
  VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
  VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
  vfioDeviceMigrationInfo,
} from "../../uapi/mod.ts";
import { variantDriver } from "../sysfs/variant_driver.ts";
import { AnswerError } from "./answer_error.ts";
import type { VfioDevice } from "./device.ts";
import type { DriverNotes } from "../notes/driver_notes.ts";
import { isPlain, needsVariantDriver, noMigration } from "../reasons/driver_reasons.ts";
import { readMigrationFlags } from "./feature.ts";
import { brokenAnswer, migrationRegionEmpty, migrationRegionUnusable } from "../reasons/reasons.ts";
import type { Region } from "./region.ts";
import type { Reason } from "../reasons/unsupported_error.ts";

/**
 * How the data of a migration region is accessed: only by pread and pwrite
 * (`trapped`), or mapped, in one area or in several (`partitioned`).
 */
export type DataSectionKind = "trapped" | "mapped" | "partitioned";

/**
 * The device's v1 migration region.
 *
 * @returns null if it has none.
 * @throws {AnswerError} If none was found, but a region could not be read.
 */
export function findMigrationRegion(device: VfioDevice): Region | null {
  return device.findRegion(
    VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
    VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
  );
}

/**
 * How a migration region's data is accessed, according to the region's description.
 *
 * @example
 * ```ts
 * import { dataSectionKind } from "./migration_region.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(dataSectionKind({ mappable: false, sparse: null }), "trapped");
 * assert.equal(
 *   dataSectionKind({ mappable: true, sparse: [{ offset: 4096n, size: 65536n }] }),
 *   "mapped",
 * );
 * ```
 */
export function dataSectionKind(region: Pick<Region, "mappable" | "sparse">): DataSectionKind {
  if (!region.mappable) return "trapped";
  if (region.sparse === null) return "mapped";
  const areas = region.sparse.filter(({ size }) => size > 0n).length;
  if (areas === 0) return "trapped";
  return areas === 1 ? "mapped" : "partitioned";
}

/** The smallest page size of mmap, in bytes. */
const PAGE = 4096n;

/** Notes the sparse areas of a region that are not aligned to whole pages. */
export function noteSparseAreas(
  { mappable, sparse }: Pick<Region, "mappable" | "sparse">,
  notes: DriverNotes,
): void {
  if (!mappable) return;
  for (const [number, { offset, size }] of (sparse ?? []).entries()) {
    if ((offset | size) % PAGE === 0n) continue;
    notes.add("sparse-area", () => `sparse area ${number} has ${size} bytes at offset ${offset}`);
  }
}

/** Why the device cannot be migrated by either protocol; empty if it can. */
export function migrationReasons(device: VfioDevice): Reason[] {
  let region: Region | null;
  try {
    region = findMigrationRegion(device);
  } catch (error) {
    if (error instanceof AnswerError) return [brokenAnswer(error.message)];
    throw error;
  }
  if (region === null) {
    return readMigrationFlags(device) === null ? [noMigrationReason(device)] : [];
  }
  if (region.size === 0n) return [migrationRegionEmpty(region.index)];
  const registers = vfioDeviceMigrationInfo.size;
  if (region.size < BigInt(registers)) {
    const why = `its ${region.size} bytes do not hold the ${registers} of its registers`;
    return [migrationRegionUnusable(region.index, why)];
  }
  if (!region.readable || !region.writable) {
    return [migrationRegionUnusable(region.index, "it cannot be both read and written")];
  }
  return [];
}

function noMigrationReason(device: VfioDevice): Reason {
  const { sysfs, kernel } = device;
  return sysfs !== null && isPlain(sysfs)
    ? needsVariantDriver(sysfs, variantDriver(kernel, sysfs))
    : noMigration(sysfs, device.identity().driver);
}
