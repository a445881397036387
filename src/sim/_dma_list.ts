/**
 * The mappings of an IOMMU, in order.
 */

import { refuse } from "./_refusal.ts";
import type { PageLog } from "./_page_log.ts";

/** Bytes of a page: the smallest that can be mapped, and what a bit stands for. */
export const DMA_PAGE = 4096n;

/** One mapping (struct vfio_dma). */
export class Dma {
  readonly iova: bigint;
  /** The first byte behind it. */
  readonly end: bigint;
  /** The address in the process. */
  readonly vaddr: bigint;
  /** VFIO_DMA_MAP_FLAG_READ and _WRITE. */
  readonly access: number;
  /** Its dirty pages; null while they are not tracked. */
  log: PageLog | null = null;
  /** Pages that drivers hold pinned, and how often each. */
  readonly pins: Map<number, number> = new Map();

  constructor(iova: bigint, size: bigint, vaddr: bigint, access: number) {
    this.iova = iova;
    this.end = iova + size;
    this.vaddr = vaddr;
    this.access = access;
  }

  /** Bytes. */
  get size(): bigint {
    return this.end - this.iova;
  }

  /** Pages. */
  get pages(): number {
    return Number(this.size / DMA_PAGE);
  }

  /** The number of the page that an address lies in. */
  pageAt(iova: bigint): number {
    return Number((iova - this.iova) / DMA_PAGE);
  }
}

/** Mappings, none overlapping another, by ascending iova. */
export class DmaList implements Iterable<Dma> {
  readonly #list: Dma[] = [];

  /** How many there are. */
  get length(): number {
    return this.#list.length;
  }

  [Symbol.iterator](): IterableIterator<Dma> {
    return this.#list.values();
  }

  /** The first that has a byte in a range. */
  overlapping(iova: bigint, end: bigint): Dma | null {
    const dma = this.#list[this.#firstEndingAfter(iova)];
    return dma !== undefined && dma.iova < end ? dma : null;
  }

  /** Those that have a byte in a range. */
  *in(iova: bigint, end: bigint): Generator<Dma> {
    for (let i = this.#firstEndingAfter(iova); i < this.#list.length; i += 1) {
      const dma = this.#list[i]!;
      if (dma.iova >= end) return;
      yield dma;
    }
  }

  /** Bytes that are locked: all of them with hardware, else what is pinned. */
  locked(hardware: boolean): bigint {
    let bytes = 0n;
    for (const dma of this.#list) {
      bytes += hardware ? dma.size : BigInt(dma.pins.size) * DMA_PAGE;
    }
    return bytes;
  }

  /** Answers EINVAL where a range cuts the mapping at its start, or that at its end. */
  refuseToCut(iova: bigint, end: bigint): void {
    const first = this.overlapping(iova, iova + 1n);
    const last = this.overlapping(end - 1n, end);
    if (first !== null && first.iova !== iova) refuse("EINVAL");
    if (last !== null && last.end !== end) refuse("EINVAL");
  }

  /** Puts one in, where nothing is. */
  insert(dma: Dma): void {
    this.#list.splice(this.#firstEndingAfter(dma.iova), 0, dma);
  }

  /** Takes one out. */
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
