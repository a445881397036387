/**
 * Where things lie in a simulated migration region.
 */

import { PAGE } from "./_pages.ts";
import { HEADER, RECORD } from "./_save_stream.ts";
import { PERSONALITIES } from "./personalities.ts";
import type { SimSpec } from "./spec.ts";

/** A part of a region that mmap reaches. */
export interface SparseArea {
  /** Where it begins, in bytes from the region's start. */
  readonly offset: number;
  /** Its bytes. */
  readonly size: number;
}

/** A migration region. */
export interface Layout {
  /** Its bytes. */
  readonly size: number;
  /** Where transactions lie; one after the other takes the next of these. */
  readonly dataOffsets: readonly number[];
  /** Bytes of the largest transaction. */
  readonly window: number;
  /** What mmap reaches, as the driver lists it; null where nothing. */
  readonly areas: readonly SparseArea[] | null;
}

const pageUp = (bytes: number): number => Math.ceil(bytes / PAGE) * PAGE;

/** The migration region of a device; null where it has none. */
export function layoutOf(spec: SimSpec): Layout | null {
  if (spec.personality === "ice") {
    // Straight behind the registers, and nothing is ever mapped.
    const window = HEADER + RECORD + spec.size;
    return { size: 32 + window, dataOffsets: [32], window, areas: null };
  }
  const area = { offset: PAGE, size: pageUp(spec.chunk) };
  const size = area.offset + area.size;
  // A vGPU's transaction fills its area.
  const window = spec.personality === "nvidia-vgpu" ? area.size : spec.chunk;
  switch (PERSONALITIES[spec.personality].dataSection) {
    case null:
      return null;
    case "trapped":
      return { size, dataOffsets: [PAGE], window, areas: null };
    case "mapped":
      return { size, dataOffsets: [PAGE], window, areas: [area] };
    case "partitioned":
      return partitioned(spec.chunk);
  }
}

/**
 * Data begins near the end of the first trapped page, so that the smallest
 * transaction straddles; areas come in no order, two overlap, one is empty, and
 * between and behind them lie trapped pages.
 */
function partitioned(chunk: number): Layout {
  const first = PAGE + 0xa34;
  const second = first + 0x100;
  const pages = Math.max(17, Math.ceil((second + chunk) / PAGE));
  const unit = Math.floor(pages / 8);
  const area = (from: number, to: number): SparseArea => ({
    offset: from * PAGE,
    size: (to - from) * PAGE,
  });
  return {
    size: pages * PAGE,
    dataOffsets: [first, second],
    window: chunk,
    areas: [
      area(1 + 4 * unit, 1 + 6 * unit),
      area(1 + 6 * unit, 1 + 6 * unit),
      area(2, 2 + 2 * unit),
      area(2 + unit, 2 + 2 * unit + (unit >> 1)),
    ],
  };
}
