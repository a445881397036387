/** Rounds of dirty pages that look like a device's, the same on every run. */

import { MemoryMap } from "../../cli/dirty/memory_map.ts";
import type { Sample } from "../../cli/dirty/samples.ts";
import type { DirtyRun } from "../../src/dirty/bitmap/bitmap.ts";

const PAGE = 4096;

/** Two mappings, 192 MiB in all, as a guest has them below and above its hole. */
export const MAPPINGS: readonly DirtyRun[] = [
  { iova: 0x10_0000n, size: 64n << 20n },
  { iova: 0x1_0000_0000n, size: 128n << 20n },
];

/** They and their pages. */
export const MAP: MemoryMap = new MemoryMap(MAPPINGS, PAGE);

/** How the rounds are made. */
export interface SampleOptions {
  /** How many; 80 where not given. */
  readonly rounds?: number;
  /** What all rounds have to say. */
  readonly notes?: readonly string[];
}

/**
 * A ring of 1 MiB written all the time, 8 pages pinned, a buffer that moves on
 * through 24 MiB, a burst in the middle, and a few pages here and there.
 */
export function sampleRounds({ rounds = 80, notes = [] }: SampleOptions = {}): Sample[] {
  const random = generator(1);
  const seen = new Set<number>();
  return Array.from({ length: rounds }, (_, index) => {
    const dirty = new Set<number>();
    const write = (page: number, pages: number): void => {
      for (let at = page; at < Math.min(page + pages, MAP.pages); at++) dirty.add(at);
    };
    write(0, 8);
    write(1024, 256);
    write(4096 + (index * 96) % 6144, 96);
    if (index >= rounds * 0.45 && index < rounds * 0.6) write(16384 + (index % 4) * 3072, 3072);
    for (let i = 0; i < 120; i++) write(20480 + Math.floor(random() * 26000), 1);
    for (const page of dirty) seen.add(page);
    const seconds = 0.1;
    return {
      round: index + 1,
      time: Number(((index + 1) * seconds).toFixed(6)),
      seconds,
      pgsize: PAGE,
      mappings: MAPPINGS,
      pages: dirty.size,
      distinctPages: seen.size,
      pinnedPages: 8,
      runs: runsOf([...dirty].sort((a, b) => a - b)),
      omittedRuns: 0,
      notes,
    };
  });
}

function runsOf(pages: readonly number[]): DirtyRun[] {
  const runs: { iova: bigint; size: bigint }[] = [];
  for (const page of pages) {
    const iova = MAP.iovaOf(page);
    const last = runs.at(-1);
    if (last !== undefined && last.iova + last.size === iova) last.size += BigInt(PAGE);
    else runs.push({ iova, size: BigInt(PAGE) });
  }
  return runs;
}

/** xorshift32: numbers from 0 up to 1. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
