/**
 * A device's own log of the memory that it wrote to.
 */

import { Refusal, refuse } from "./_refusal.ts";
import type { UserMemory } from "./_user_memory.ts";

/** What the hardware behind a log can do. */
export interface LogHardware {
  /** The smallest pages that it logs by, in bytes. */
  readonly leastPage: bigint;
  /** The largest. */
  readonly mostPage: bigint;
  /** How many ranges it takes; more of them are joined where the gaps are smallest. */
  readonly maxRanges: number;
  /** How many bytes they may have together. */
  readonly maxBytes: bigint;
  /** Whether a report has to lie in one of the ranges. */
  readonly oneRange: boolean;
}

/** Addresses, as the device uses them. */
export interface IovaRange {
  /** The first. */
  readonly iova: bigint;
  /** The first behind them. */
  readonly end: bigint;
}

/** The log of one device. */
export class DmaLog {
  readonly #hardware: LogHardware;
  /** 0 while the log is off. */
  #pageSize = 0n;
  #ranges: readonly IovaRange[] = [];
  /** Numbers of the pages written to. */
  readonly #dirty: Set<bigint> = new Set();
  #failed = false;

  constructor(hardware: LogHardware) {
    this.#hardware = hardware;
  }

  /** Begins to log; returns the page size that it goes by. Ranges are sorted and apart. */
  start(ranges: readonly IovaRange[], pageSize: bigint): bigint {
    if (this.#pageSize !== 0n) refuse("EINVAL");
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

  /** Ends the log; what was not reported is lost. */
  stop(): void {
    this.#pageSize = 0n;
  }

  /** The log breaks: whatever it knew is not to be had any more. */
  fail(): void {
    this.#failed = true;
  }

  /** The device has written. */
  mark(iova: bigint, length: number): void {
    const page = this.#pageSize;
    if (page === 0n) return;
    for (const range of this.#ranges) {
      const from = iova > range.iova ? iova : range.iova;
      const to = iova + BigInt(length) < range.end ? iova + BigInt(length) : range.end;
      for (let at = from / page; at * page < to; at += 1n) this.#dirty.add(at);
    }
  }

  /** Sets the bits of pages written to since the last report, and forgets them. */
  report({ iova, end }: IovaRange, pageSize: bigint, memory: UserMemory, bitmap: bigint): void {
    if (this.#pageSize === 0n) refuse("EINVAL");
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
      // What reaches out of the report is told again by the next one.
      if (iova <= start && stop <= end) this.#dirty.delete(number);
    }
    for (const [at, bits] of bytes) setBits(memory, bitmap + at, bits);
  }
}

/** Sets bits of a byte; where no memory stands behind it, they are lost, as in kernel 6.12. */
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

/** So many ranges at most: those with the smallest gap between them become one. */
function join(ranges: readonly IovaRange[], most: number): readonly IovaRange[] {
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
