/**
 * The result of a read: which pages of which mappings are dirty.
 *
 * @module
 */

import type { DirtyBitmap, DirtyRun } from "./bitmap/bitmap.ts";

/** One mapping's dirty pages. */
export interface DirtyRange {
  /** The mapping's range, and a bit per page. */
  readonly bitmap: DirtyBitmap;
  /**
   * Pages that were dirty again in a second read immediately after the first: the device holds them
   * pinned, so the kernel cannot know when it writes to them. Null without a second read, and for a
   * device's log, which does not know.
   */
  readonly pinned: DirtyBitmap | null;
  /**
   * Why it is unknown which pages are dirty, so that all of them count as dirty; null if it is
   * known.
   */
  readonly lost: Error | null;
}

/**
 * Whether the IOMMU tracks: `tracks`; `does-not-track` if every page is dirty in every read;
 * `undecided` while there is no evidence for either.
 */
export type TrackingVerdict = "tracks" | "does-not-track" | "undecided";

/**
 * One read of the dirty pages of one or more mappings.
 *
 * @example
 * ```ts
 * import { DirtyBitmap, DirtyReading } from "vfiokit/dirty";
 * import assert from "node:assert/strict";
 *
 * const range = { iova: 0x10000n, size: 0x8000n, pgsize: 4096 };
 * const bitmap = DirtyBitmap.fromRuns(range, [{ iova: 0x11000n, size: 0x2000n }]);
 * const reading = new DirtyReading([{ bitmap, pinned: null, lost: null }], "tracks");
 * assert.deepEqual([reading.dirtyPages, reading.pages], [2, 8]);
 * assert.deepEqual([...reading.runs()], [{ iova: 0x11000n, size: 0x2000n }]);
 * ```
 */
export class DirtyReading {
  /** The mappings, by ascending iova. */
  readonly ranges: readonly DirtyRange[];
  /** Whether the IOMMU tracks, so that the numbers have a meaning. */
  readonly verdict: TrackingVerdict;
  #dirtyPages: number | null = null;

  /** Makes a reading from its parts. */
  constructor(ranges: readonly DirtyRange[], verdict: TrackingVerdict) {
    this.ranges = ranges;
    this.verdict = verdict;
  }

  /** Pages that were read. */
  get pages(): number {
    return this.ranges.reduce((sum, { bitmap }) => sum + bitmap.pageCount, 0);
  }

  /** Pages that are dirty, or count as dirty. */
  get dirtyPages(): number {
    return this.#dirtyPages ??= this.ranges.reduce((sum, { bitmap }) => sum + bitmap.count(), 0);
  }

  /** Pinned pages; null if not looked for, or not known. */
  get pinnedPages(): number | null {
    let pages = 0;
    for (const { pinned } of this.ranges) {
      if (pinned === null) return null;
      pages += pinned.count();
    }
    return pages;
  }

  /** The mappings whose dirty pages are not known. */
  get lost(): readonly DirtyRange[] {
    return this.ranges.filter(({ lost }) => lost !== null);
  }

  /** The dirty runs of all mappings, ascending. A run ends at the end of its mapping. */
  *runs(): Generator<DirtyRun, void, void> {
    for (const { bitmap } of this.ranges) yield* bitmap.runs();
  }
}

/** A reading of a tracker that tracks whenever it can be read: the verdict is never against it. */
export function certainReading(ranges: readonly DirtyRange[]): DirtyReading {
  const known = ranges.some(({ lost }) => lost === null);
  return new DirtyReading(ranges, known ? "tracks" : "undecided");
}
