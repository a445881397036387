/**
 * Turns a tracker's readings into samples: what is counted from round to round.
 *
 * @module
 */

import type { DirtyBitmap, DirtyReading, DirtyRun } from "../../src/dirty/mod.ts";
import type { ForEachRun, MemoryMap } from "./memory_map.ts";
import { MAX_RUNS, type Sample } from "./samples.ts";

/** A page counts as pinned if it was dirty in both reads of this many rounds: … */
const PINNED_ROUNDS = 8;
/** … of all rounds if there are fewer, but at least this many. */
const PINNED_ROUNDS_LEAST = 3;

/** A reading as it is shown. */
export interface WatchRound {
  /** The printed sample. */
  readonly sample: Sample;
  /** All of its dirty pages, by their numbers. */
  readonly forEachRun: ForEachRun;
}

/** Counts rounds of readings of the same memory. */
export class WatchRounds {
  readonly #map: MemoryMap;
  #seen: readonly DirtyBitmap[] | null = null;
  /** The pages that were dirty in both reads, per round; the latest round is last. */
  readonly #again: (readonly (DirtyBitmap | null)[])[] = [];
  #round = 0;
  #time = 0;

  /** Starts without any round. */
  constructor(map: MemoryMap) {
    this.#map = map;
  }

  /** Adds a reading of all mappings, made this many seconds after tracking began. */
  add(reading: DirtyReading, time: number): WatchRound {
    const bitmaps = reading.ranges.map(({ bitmap }) => bitmap);
    const seen = this.#seen?.map((before, index) => before.union(bitmaps[index]!)) ?? bitmaps;
    const seconds = time - this.#time;
    this.#seen = seen;
    this.#time = time;
    this.#round++;
    const sample = {
      round: this.#round,
      time,
      seconds,
      pgsize: this.#map.pgsize,
      mappings: this.#map.mappings,
      pages: reading.dirtyPages,
      distinctPages: seen.reduce((sum, bitmap) => sum + bitmap.count(), 0),
      pinnedPages: this.#pinnedPages(reading),
      ...firstRuns(reading, MAX_RUNS),
      notes: notesOf(reading),
    };
    return { sample, forEachRun: runsOf(reading, this.#map) };
  }

  /** A busy device sometimes writes to a page between the two reads, but not in each round. */
  #pinnedPages({ ranges, verdict }: DirtyReading): number | null {
    if (verdict === "does-not-track") return null;
    this.#again.push(ranges.map(({ pinned }) => pinned));
    if (this.#again.length > PINNED_ROUNDS) this.#again.shift();
    if (this.#again.length < PINNED_ROUNDS_LEAST) return null;
    const always = this.#again.reduce((all, round) =>
      all.map((bitmap, index) => both(bitmap, round[index] ?? null))
    );
    return always.some((bitmap) => bitmap === null)
      ? null
      : always.reduce((sum, bitmap) => sum + bitmap!.count(), 0);
  }
}

/** The pages of both bitmaps. */
export function both(one: DirtyBitmap | null, other: DirtyBitmap | null): DirtyBitmap | null {
  return one === null || other === null ? null : one.difference(one.difference(other));
}

/** The runs of a reading as page numbers. */
export function runsOf({ ranges }: DirtyReading, map: MemoryMap): ForEachRun {
  return (callback) => {
    for (const { bitmap } of ranges) {
      const first = map.pageAt(bitmap.iova)!;
      bitmap.forEachRun((page, pages) => callback(first + page, pages));
    }
  };
}

/** Remarks about a reading. */
export function notesOf({ verdict, lost }: DirtyReading): string[] {
  const notes = lost.map(({ lost }) => `${lost!.message}; all of its pages count as dirty`);
  if (verdict === "does-not-track") {
    notes.push(
      "This IOMMU does not track: every page is dirty whenever it is read, as with all " +
        "passed-through devices",
    );
  }
  return notes;
}

function firstRuns(
  { ranges }: DirtyReading,
  limit: number,
): { readonly runs: DirtyRun[]; readonly omittedRuns: number } {
  const runs: DirtyRun[] = [];
  let omittedRuns = 0;
  for (const { bitmap } of ranges) {
    const pgsize = BigInt(bitmap.pgsize);
    bitmap.forEachRun((page, pages) => {
      if (runs.length < limit) {
        runs.push({ iova: bitmap.iova + BigInt(page) * pgsize, size: BigInt(pages) * pgsize });
      } else {
        omittedRuns++;
      }
    });
  }
  return { runs, omittedRuns };
}
