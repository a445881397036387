/**
 * What a tracker read: which pages of which mappings are dirty.
 *
 * @module
 */

import type { DirtyBitmap, DirtyRun } from "./bitmap/bitmap.ts";

/** One mapping's dirty pages. */
export interface DirtyRange {
  /** Which: its range, and a bit for each page of it. */
  readonly bitmap: DirtyBitmap;
  /**
   * Those that were dirty again in a second read right behind the first one: the
   * device holds them pinned, so that nobody knows when it writes to them. null
   * where there was no second read, and of a device's log, which does not know.
   */
  readonly pinned: DirtyBitmap | null;
  /**
   * Why nobody knows which pages are dirty, so that all of them count as dirty;
   * null if it is known.
   */
  readonly lost: Error | null;
}

/**
 * Whether what is read tells anything: `tracks`; `does-not-track`, where every
 * page is dirty whenever it is read; `undecided` as long as nothing speaks for
 * one or the other.
 */
export type TrackingVerdict = "tracks" | "does-not-track" | "undecided";

/**
 * One read of the dirty pages, of one mapping after the other.
 *
 * @example
 * ```ts
 * import { DirtyBitmap, DirtyReading } from "@vfiokit/vfiokit/dirty";
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
  /** Whether the numbers mean anything. */
  readonly verdict: TrackingVerdict;
  #dirtyPages: number | null = null;

  /** Makes a reading of its parts. */
  constructor(ranges: readonly DirtyRange[], verdict: TrackingVerdict) {
    this.ranges = ranges;
    this.verdict = verdict;
  }

  /** Pages that were looked at. */
  get pages(): number {
    return this.ranges.reduce((sum, { bitmap }) => sum + bitmap.pageCount, 0);
  }

  /** Pages that are dirty, or count as dirty. */
  get dirtyPages(): number {
    return this.#dirtyPages ??= this.ranges.reduce((sum, { bitmap }) => sum + bitmap.count(), 0);
  }

  /** Pages that are pinned; null if that was not looked for, or nobody knows. */
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

  /** The dirty runs of all mappings, ascending. A run does not go on into the next mapping. */
  *runs(): Generator<DirtyRun, void, void> {
    for (const { bitmap } of this.ranges) yield* bitmap.runs();
  }
}
