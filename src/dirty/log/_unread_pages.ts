/**
 * Dirty pages of one mapping that a report for another mapping in the same unit of the log has
 * cleared.
 */

import { type IovaMapping, overlap } from "../../vfio/dma/iova.ts";
import { DirtyBitmap } from "../bitmap/bitmap.ts";

/** Keeps these pages until the mapping that they belong to is read. */
export class UnreadPages {
  readonly #pgsize: bigint;
  /** Their addresses. They are few: less than a unit at each end of a mapping. */
  readonly #pages = new Set<bigint>();

  constructor(pgsize: number) {
    this.#pgsize = BigInt(pgsize);
  }

  /** Keeps the bits of other mappings from a report that covers more than one mapping. */
  keep(report: DirtyBitmap, mapping: IovaMapping, mappings: readonly IovaMapping[]): void {
    const { iova, size } = mapping;
    const end = iova + size;
    const edges = [
      { iova: report.iova, size: iova - report.iova },
      { iova: end, size: report.iova + report.size - end },
    ];
    for (const edge of edges) {
      if (edge.size === 0n) continue;
      const others = mappings.filter((other) => overlap(other, edge));
      if (others.length === 0) continue;
      for (const page of report.slice(edge.iova, edge.size).pages()) {
        const range = { iova: page, size: this.#pgsize };
        if (others.some((other) => overlap(other, range))) this.#pages.add(page);
      }
    }
  }

  /** The part of a report that belongs to a mapping, with the pages that were kept for it. */
  take(report: DirtyBitmap, { iova, size }: IovaMapping): DirtyBitmap {
    const own = report.slice(iova, size);
    const kept = [...this.#pages].filter((page) => page >= iova && page < iova + size);
    if (kept.length === 0) return own;
    for (const page of kept) this.#pages.delete(page);
    return own.union(
      DirtyBitmap.fromRuns(own, kept.map((page) => ({ iova: page, size: this.#pgsize }))),
    );
  }

  /** Drops all kept pages. */
  clear(): void {
    this.#pages.clear();
  }
}
