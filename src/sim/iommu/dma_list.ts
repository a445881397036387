/**
 * The DMA mappings of an IOMMU, sorted by address.
 */

import { refuse } from "../os/refusal.ts";
import type { MappingBitmap } from "./mapping_bitmap.ts";

/** Page size in bytes: the smallest mapping, and the bytes per bit of a dirty bitmap. */
export const DMA_PAGE = 4096n;

/** One mapping (struct vfio_dma). */
export class Dma {
  readonly iova: bigint;
  /** The first address after it. */
  readonly end: bigint;
  /** The address in the process. */
  readonly vaddr: bigint;
  /** VFIO_DMA_MAP_FLAG_READ and _WRITE. */
  readonly access: number;
  /** The dirty pages of this mapping; null while they are not tracked. */
  bitmap: MappingBitmap | null = null;
  /** Pages that drivers hold pinned, with the number of pins of each. */
  readonly pins: Map<number, number> = new Map();

  constructor(iova: bigint, size: bigint, vaddr: bigint, access: number) {
    this.iova = iova;
    this.end = iova + size;
    this.vaddr = vaddr;
    this.access = access;
  }

  /** Size in bytes. */
  get size(): bigint {
    return this.end - this.iova;
  }

  /** Size in pages. */
  get pages(): number {
    return Number(this.size / DMA_PAGE);
  }

  /** The index of the page at an address. */
  pageAt(iova: bigint): number {
    return Number((iova - this.iova) / DMA_PAGE);
  }
}

/** Mappings that do not overlap, by ascending iova. */
export class DmaList implements Iterable<Dma> {
  readonly #list: Dma[] = [];

  /** The number of mappings. */
  get length(): number {
    return this.#list.length;
  }

  [Symbol.iterator](): IterableIterator<Dma> {
    return this.#list.values();
  }

  /** The first mapping that overlaps a range. */
  overlapping(iova: bigint, end: bigint): Dma | null {
    const dma = this.#list[this.#firstEndingAfter(iova)];
    return dma !== undefined && dma.iova < end ? dma : null;
  }

  /** The mappings that overlap a range. */
  *in(iova: bigint, end: bigint): Generator<Dma> {
    for (let i = this.#firstEndingAfter(iova); i < this.#list.length; i += 1) {
      const dma = this.#list[i]!;
      if (dma.iova >= end) return;
      yield dma;
    }
  }

  /** Locked bytes: all mappings with hardware, else the pinned pages. */
  locked(hardware: boolean): bigint {
    let bytes = 0n;
    for (const dma of this.#list) {
      bytes += hardware ? dma.size : BigInt(dma.pins.size) * DMA_PAGE;
    }
    return bytes;
  }

  /** Fails with EINVAL if a range splits the mapping at its start or the one at its end. */
  refuseToCut(iova: bigint, end: bigint): void {
    const first = this.overlapping(iova, iova + 1n);
    const last = this.overlapping(end - 1n, end);
    if (first !== null && first.iova !== iova) refuse("EINVAL");
    if (last !== null && last.end !== end) refuse("EINVAL");
  }

  /** Inserts a mapping that overlaps no other. */
  insert(dma: Dma): void {
    this.#list.splice(this.#firstEndingAfter(dma.iova), 0, dma);
  }

  /** Removes a mapping. */
  remove(dma: Dma): void {
    this.#list.splice(this.#list.indexOf(dma, this.#firstEndingAfter(dma.iova)), 1);
  }

  #firstEndingAfter(iova: bigint): number {
    let low = 0;
    let high = this.#list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#list[middle]!.end > iova) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
