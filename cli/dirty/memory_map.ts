/**
 * The pages of a device's memory, numbered from 0 across its mappings: the axis of heatmaps and
 * tables.
 *
 * @module
 */

import type { DirtyRun } from "../../src/dirty/mod.ts";

/** Calls back with runs of pages, by the number of the first one, ascending. */
export type ForEachRun = (callback: (page: number, pages: number) => void) => void;

/** The mappings of a device's memory, by ascending IOVA. */
export class MemoryMap {
  /** The mappings. */
  readonly mappings: readonly DirtyRun[];
  /** Page size in bytes. */
  readonly pgsize: number;
  /** The number of the first page of each mapping. */
  readonly firstPages: readonly number[];
  /** Pages in all. */
  readonly pages: number;

  /** Numbers the pages of mappings that do not overlap. */
  constructor(mappings: readonly DirtyRun[], pgsize: number) {
    this.mappings = [...mappings].sort((a, b) => a.iova < b.iova ? -1 : 1);
    this.pgsize = pgsize;
    let pages = 0;
    this.firstPages = this.mappings.map(({ size }) => {
      const first = pages;
      pages += Number(size / BigInt(pgsize));
      return first;
    });
    this.pages = pages;
  }

  /** Bytes of all pages. */
  get bytes(): number {
    return this.pages * this.pgsize;
  }

  /** The index of the mapping that contains a page. */
  mappingOf(page: number): number {
    return this.firstPages.findLastIndex((first) => first <= page);
  }

  /** The IOVA of a page. */
  iovaOf(page: number): bigint {
    const at = this.mappingOf(page);
    return this.mappings[at]!.iova + BigInt(page - this.firstPages[at]!) * BigInt(this.pgsize);
  }

  /** The number of the page at an IOVA; null if nothing is mapped there. */
  pageAt(iova: bigint): number | null {
    const at = this.mappings.findLastIndex((mapping) => mapping.iova <= iova);
    const mapping = this.mappings[at];
    if (mapping === undefined || iova >= mapping.iova + mapping.size) return null;
    return this.firstPages[at]! + Number((iova - mapping.iova) / BigInt(this.pgsize));
  }

  /** Runs as page numbers; parts that are not mapped are left out. */
  numbered(runs: readonly DirtyRun[]): ForEachRun {
    return (callback) => {
      for (const { iova, size } of runs) {
        const page = this.pageAt(iova);
        if (page !== null) callback(page, Number(size / BigInt(this.pgsize)));
      }
    };
  }
}

/** Counts the dirty pages in each of several bands of equal size; the last one may be smaller. */
export function countInBands(forEachRun: ForEachRun, bandPages: number, into: Float64Array): void {
  forEachRun((page, pages) => {
    const end = page + pages;
    for (let at = page; at < end;) {
      const band = Math.floor(at / bandPages);
      const next = Math.min(end, (band + 1) * bandPages);
      into[band]! += next - at;
      at = next;
    }
  });
}
