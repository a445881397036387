/**
 * What a type1 container can track.
 *
 * @module
 */

import { vfioIommuType1InfoCapMigration } from "../../uapi/mod.ts";
import { AnswerError, smallestPage } from "../../vfio/device/answer_error.ts";
import { draftDirtyTracking, noDirtyCapability } from "../../vfio/reasons/tracking_reasons.ts";
import type { Type1Info } from "../../vfio/dma/type1_info.ts";
import { UnsupportedError } from "../../vfio/reasons/unsupported_error.ts";

/** DIRTY_BITMAP_PAGES_MAX: a mapping with more pages makes the start fail. */
const MAPPING_PAGES_MAX = 2 ** 31 - 1;

const CAPABILITY = vfioIommuType1InfoCapMigration.name;
const PGSIZES_FIELD = `${CAPABILITY}.pgsize_bitmap`;

/** How a container tracks dirty pages. */
export interface Type1Support {
  /** Bytes per bit: the smallest page size, the only one in which dirty pages are read. */
  readonly pgsize: number;
  /** Pages of the largest mapping that can be tracked. */
  readonly maxPages: number;
}

/**
 * Returns how a container tracks dirty pages, from its MIGRATION capability.
 *
 * @throws {UnsupportedError} If it does not: `no-dirty-capability`, or
 * `draft-dirty-tracking` if it only has the flag of a draft.
 * @throws {AnswerError} If its answer is impossible.
 *
 * @example
 * ```ts
 * import { type1Support } from "./type1_support.ts";
 * import assert from "node:assert/strict";
 *
 * const migration = { pgsizes: 0x201000n, maxBitmapBytes: 1 << 20 };
 * const info = {
 *   migration,
 *   pgsizes: 0x201000n,
 *   iovaRanges: null,
 *   dmaAvail: null,
 *   draftDirtyPages: false,
 * };
 * assert.deepEqual(type1Support(info), { pgsize: 4096, maxPages: 8388608 });
 * ```
 */
export function type1Support(
  { migration, draftDirtyPages, pgsizes: mapped }: Type1Info,
): Type1Support {
  if (migration === null) {
    throw new UnsupportedError([draftDirtyPages ? draftDirtyTracking() : noDirtyCapability()]);
  }
  const { pgsizes, maxBitmapBytes } = migration;
  const defect = pgsizes === 0n
    ? "names no page size for them"
    : mapped !== 0n && (pgsizes & -pgsizes) > (mapped & -mapped)
    ? `tells of them by pages of ${pgsizes & -pgsizes} bytes, and maps pages of ${mapped & -mapped}`
    : null;
  if (defect !== null) {
    throw new AnswerError(`Cannot track dirty pages: the container ${defect}`, PGSIZES_FIELD);
  }
  if (maxBitmapBytes === 0) {
    throw new AnswerError(
      "Cannot track dirty pages: the container takes bitmaps of 0 bytes",
      `${CAPABILITY}.max_dirty_bitmap_size`,
    );
  }
  return {
    pgsize: smallestPage(pgsizes, "the container's dirty tracking", PGSIZES_FIELD),
    maxPages: Math.min(maxBitmapBytes * 8, MAPPING_PAGES_MAX),
  };
}
