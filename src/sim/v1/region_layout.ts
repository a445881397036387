/**
 * The layout of a simulated v1 migration region.
 */

import { PAGE } from "../state/pages.ts";
import { HEADER, RECORD } from "../state/save_stream.ts";
import type { MappableArea } from "../driver/region.ts";
import { PERSONALITIES, type PersonalityName } from "../personalities.ts";

/** What a layout depends on. */
export interface LayoutOptions {
  readonly personality: PersonalityName;
  /** Size of the state in bytes. */
  readonly size: number;
  /** The largest size of a transaction in bytes. */
  readonly chunk: number;
}

/** The layout of a migration region. */
export interface RegionLayout {
  /** Size in bytes. */
  readonly size: number;
  /** The offsets of transactions, used in turn. */
  readonly dataOffsets: readonly number[];
  /** Size of the largest transaction in bytes. */
  readonly window: number;
  /** The areas that can be mapped, in the driver's order; null if there are none. */
  readonly areas: readonly MappableArea[] | null;
}

const pageUp = (bytes: number): number => Math.ceil(bytes / PAGE) * PAGE;

/** The layout of a device's migration region; null if it has none. */
export function layoutOf(spec: LayoutOptions): RegionLayout | null {
  if (spec.personality === "ice") {
    // Directly after the registers, and never mapped.
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
 * Data begins near the end of the first trapped page, so that even the smallest
 * transaction straddles pages. The areas are unsorted, two overlap, one is empty,
 * and there are trapped pages between and after them.
 */
function partitioned(chunk: number): RegionLayout {
  const first = PAGE + 0xa34;
  const second = first + 0x100;
  const pages = Math.max(17, Math.ceil((second + chunk) / PAGE));
  const unit = Math.floor(pages / 8);
  const area = (from: number, to: number): MappableArea => ({
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
