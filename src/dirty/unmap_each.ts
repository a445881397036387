/**
 * Unmapping several mappings with their last dirty pages.
 *
 * @module
 */

import type { IovaMapping } from "../vfio/dma/iova.ts";
import { DirtyBitmap } from "./bitmap/bitmap.ts";
import type { DirtyRange } from "./reading.ts";

/** A mapping whose dirty pages are unknown: all of its pages. */
export function allDirty({ iova, size }: IovaMapping, pgsize: number, lost: Error): DirtyRange {
  const range = { iova, size, pgsize };
  return { bitmap: DirtyBitmap.fromRuns(range, [range]), pinned: null, lost };
}

/** What became of mappings that were to be unmapped. */
export interface Unmapped {
  /** Their last dirty pages. */
  readonly ranges: readonly DirtyRange[];
  /** Bytes that were unmapped. */
  readonly unmapped: bigint;
  /** The first failure; null without one. */
  readonly error: Error | null;
}

/** Unmaps mappings one by one. It ends at the first failure; all of them count as dirty then. */
export function unmapEach(
  wanted: readonly IovaMapping[],
  pgsize: number,
  unmap: (mapping: IovaMapping) => { readonly range: DirtyRange; readonly unmapped: bigint },
): Unmapped {
  const ranges: DirtyRange[] = [];
  let unmapped = 0n;
  for (const mapping of wanted) {
    const done = unmap(mapping);
    unmapped += done.unmapped;
    ranges.push(done.range);
    const { lost } = done.range;
    if (lost === null) continue;
    return { ranges: wanted.map((each) => allDirty(each, pgsize, lost)), unmapped, error: lost };
  }
  return { ranges, unmapped, error: null };
}
