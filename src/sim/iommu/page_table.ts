/**
 * An IOMMU's page table of an IOAS: an HWPT of an iommufd, as in Linux 6.12. One that was allocated
 * for it tracks dirty pages.
 */

import { DMA_PAGE, type DmaList } from "./dma_list.ts";
import { refuse } from "../os/refusal.ts";
import type { UserMemory } from "../os/user_memory.ts";

/** What a bitmap of dirty pages is read for, after its flags were checked. */
export interface DirtyQuery {
  readonly iova: bigint;
  readonly length: bigint;
  /** Bytes per bit; Linux takes the lowest bit of what is no power of two. */
  readonly page_size: bigint;
  /** The bitmap's address. */
  readonly data: bigint;
}

/** A page table. */
export class PageTable {
  /** Whether the kernel made it as a device was attached to the IOAS. It goes with its last device. */
  readonly auto: boolean;
  readonly #tracks: boolean;
  /** The number of devices attached to it. */
  users = 0;
  /** The dirty pages, by number; null while they are not tracked. */
  #dirty: Set<bigint> | null = null;

  /** `tracks`: whether it was allocated with IOMMU_HWPT_ALLOC_DIRTY_TRACKING. */
  constructor(auto: boolean, tracks: boolean) {
    this.auto = auto;
    this.#tracks = tracks;
  }

  /** Whether only devices that track can be attached. */
  get tracks(): boolean {
    return this.#tracks;
  }

  /** A device wrote to a range. */
  wrote(iova: bigint, length: number): void {
    if (this.#dirty === null) return;
    const last = (iova + BigInt(length) - 1n) / DMA_PAGE;
    for (let page = iova / DMA_PAGE; page <= last; page += 1n) this.#dirty.add(page);
  }

  /** A range was unmapped, and with it the dirty bits of its pages. */
  unmapped(iova: bigint, size: bigint): void {
    for (const page of this.#dirtyIn(iova, iova + size)) this.#dirty!.delete(page);
  }

  #dirtyIn(iova: bigint, end: bigint): bigint[] {
    return [...this.#dirty ?? []]
      .filter((page) => page * DMA_PAGE < end && (page + 1n) * DMA_PAGE > iova);
  }

  /** IOMMU_HWPT_SET_DIRTY_TRACKING. Turned on again, all pages are clean. */
  setTracking(on: boolean): void {
    if (!this.#tracks) refuse("EOPNOTSUPP");
    this.#dirty = on ? new Set() : null;
  }

  /**
   * IOMMU_HWPT_GET_DIRTY_BITMAP: sets bits, and clears none. Linux discards what the walk through
   * the mappings answers, so a hole, tracking that is off and memory that is not there are no
   * errors: the bits from there on are missing.
   */
  read(query: DirtyQuery, list: DmaList, user: UserMemory, clear: boolean): void {
    const end = rangeEnd(query);
    if (!this.#tracks) refuse("EOPNOTSUPP");
    for (let iova = query.iova; iova < end;) {
      const dma = list.overlapping(iova, iova + 1n);
      if (dma === null) return;
      const stop = dma.end < end ? dma.end : end;
      for (const page of this.#dirtyIn(iova, stop)) {
        setBits(query, page * DMA_PAGE, user);
        if (clear) this.#dirty!.delete(page);
      }
      iova = stop;
    }
  }
}

const TOP = 1n << 64n;

/** Checks a query's range (iommufd_check_iova_range); returns the first address after it. */
function rangeEnd({ iova, length, page_size }: DirtyQuery): bigint {
  const end = iova + length;
  if (end > TOP) refuse("EOVERFLOW");
  const aligned = (unit: bigint): boolean => ((iova | end) & (unit - 1n)) === 0n;
  if (length === 0n || !aligned(DMA_PAGE) || page_size === 0n || !aligned(page_size)) {
    refuse("EINVAL");
  }
  return end;
}

/** Sets the bits of one page, where there is memory for them. */
function setBits({ iova, page_size, data }: DirtyQuery, page: bigint, user: UserMemory): void {
  const unit = page_size & -page_size;
  const last = (page + DMA_PAGE - 1n - iova) / unit;
  for (let bit = (page - iova) / unit; bit <= last; bit += 1n) {
    const at = data + bit / 8n;
    if (!user.has(at, 1n)) return;
    const byte = new Uint8Array(1);
    user.read(at, byte);
    byte[0]! |= 1 << Number(bit % 8n);
    user.write(at, byte);
  }
}
