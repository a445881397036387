/**
 * A v2 device's own log of the memory that it wrote to by DMA. The features
 * DMA_LOGGING_START, _STOP and _REPORT (logging_feature.ts) control it.
 *
 * This is not the tracking of a container's type1 IOMMU: for that, see
 * ../iommu/type1_tracking.ts (VFIO_IOMMU_DIRTY_PAGES).
 */

import { Refusal, refuse } from "../os/refusal.ts";
import type { LogHardware } from "../v2_drivers.ts";
import type { UserMemory } from "../os/user_memory.ts";

/** A range of addresses (IOVAs) to log. */
export interface LoggedRange {
  /** The first address. */
  readonly iova: bigint;
  /** The first address after the range. */
  readonly end: bigint;
}

/** The log of one device. */
export class DmaLog {
  readonly #hardware: LogHardware;
  /** 0 while the log is off. */
  #pageSize = 0n;
  #ranges: readonly LoggedRange[] = [];
  /** Indexes of the pages that were written to. */
  readonly #dirty: Set<bigint> = new Set();
  #failed = false;

  constructor(hardware: LogHardware) {
    this.#hardware = hardware;
  }

  /** Whether it logs. */
  get on(): boolean {
    return this.#pageSize !== 0n;
  }

  /** The ranges that it logs. */
  get ranges(): readonly LoggedRange[] {
    return this.#ranges;
  }

  /**
   * Starts logging; returns the page size that the log uses. The ranges must be sorted and must
   * not overlap.
   */
  start(ranges: readonly LoggedRange[], pageSize: bigint): bigint {
    if (this.on) refuse("EINVAL");
    const { leastPage, mostPage, maxRanges, maxBytes } = this.#hardware;
    const joined = join(ranges, maxRanges);
    if (joined.reduce((sum, { iova, end }) => sum + end - iova, 0n) > maxBytes) {
      refuse("EOPNOTSUPP");
    }
    const wanted = pageSize < leastPage ? leastPage : pageSize > mostPage ? mostPage : pageSize;
    this.#pageSize = 1n << BigInt(wanted.toString(2).length - 1);
    this.#ranges = joined;
    this.#dirty.clear();
    this.#failed = false;
    return this.#pageSize;
  }

  /** Stops logging. Pages that were not reported are lost. */
  stop(): void {
    this.#pageSize = 0n;
  }

  /** Breaks the log: reports fail until it is started again. */
  fail(): void {
    this.#failed = true;
  }

  /** The device has written to memory. */
  mark(iova: bigint, length: number): void {
    const page = this.#pageSize;
    if (page === 0n) return;
    for (const range of this.#ranges) {
      const from = iova > range.iova ? iova : range.iova;
      const to = iova + BigInt(length) < range.end ? iova + BigInt(length) : range.end;
      for (let at = from / page; at * page < to; at += 1n) this.#dirty.add(at);
    }
  }

  /** Sets the bits of the pages written to since the last report, and clears the log of them. */
  report({ iova, end }: LoggedRange, pageSize: bigint, memory: UserMemory, bitmap: bigint): void {
    if (!this.on) refuse("EINVAL");
    if (this.#hardware.oneRange) {
      const inside = this.#ranges.some((range) => range.iova <= iova && end <= range.end);
      if (!inside) refuse("EINVAL");
    }
    if (this.#failed) refuse("EIO");
    const bytes = new Map<bigint, number>();
    for (const number of this.#dirty) {
      const start = number * this.#pageSize;
      const stop = start + this.#pageSize;
      if (start >= end || stop <= iova) continue;
      const from = ((start > iova ? start : iova) - iova) / pageSize;
      const to = ((stop < end ? stop : end) - 1n - iova) / pageSize;
      for (let bit = from; bit <= to; bit += 1n) {
        bytes.set(bit >> 3n, (bytes.get(bit >> 3n) ?? 0) | 1 << Number(bit & 7n));
      }
      // A page that reaches beyond this report is reported again by the next one.
      if (iova <= start && stop <= end) this.#dirty.delete(number);
    }
    for (const [at, bits] of bytes) setBits(memory, bitmap + at, bits);
  }
}

/** Sets bits of a byte. If no memory is mapped there, they are lost, as in kernel 6.12. */
function setBits(memory: UserMemory, address: bigint, bits: number): void {
  const byte = new Uint8Array(1);
  try {
    memory.read(address, byte);
    byte[0]! |= bits;
    memory.write(address, byte);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
}

/** Reduces ranges to `most`, by joining those with the smallest gap between them. */
function join(ranges: readonly LoggedRange[], most: number): readonly LoggedRange[] {
  const joined = [...ranges];
  while (joined.length > most) {
    let best = 0;
    const gap = (index: number): bigint => joined[index + 1]!.iova - joined[index]!.end;
    for (let index = 1; index < joined.length - 1; index += 1) {
      if (gap(index) < gap(best)) best = index;
    }
    joined.splice(best, 2, { iova: joined[best]!.iova, end: joined[best + 1]!.end });
  }
  return joined;
}
