/**
 * The DMA of a simulated device: what it writes into memory, and what it pins.
 */

import { VFIO_DMA_MAP_FLAG_WRITE } from "../uapi/mod.ts";
import { type DmaPattern, DmaWalk } from "./_dma_pattern.ts";
import { type Dma, DMA_PAGE } from "./_dma_list.ts";
import type { DmaTarget } from "./_iommu_member.ts";
import { Refusal, refuse } from "./_refusal.ts";
import type { Bytes } from "./_region.ts";

/** A device that was left alone for long writes at most so often to each page at once. */
const MAX_CATCH_UP = 4;

/** What a device writes into each page that it writes to. */
const STAMP_BYTES = 8;

/** A device's DMA: by a pattern, and at somebody's wish. */
export class DmaEngine {
  readonly #rate: number;
  readonly #walk: DmaWalk | null;
  readonly #pinCount: number;
  #now: () => number;
  #then = 0;
  #owed = 0;
  #writes = 0;
  #target: DmaTarget | null = null;
  /** Pages that this device holds pinned, one entry for each time. */
  #pins: bigint[] = [];
  /** How many pages it has pinned by itself since it was opened; those that were unmapped count. */
  #pinned = 0;

  /** DMA by a pattern, or null for none by itself; with so many pages pinned. */
  constructor(pattern: DmaPattern | null, pin: number, seed: number, now: () => number) {
    this.#rate = pattern?.rate ?? 0;
    this.#walk = pattern === null ? null : new DmaWalk(pattern, seed);
    this.#pinCount = pin;
    this.#now = now;
  }

  /** Whether it does nothing by itself; the clock is left alone then. */
  get #idle(): boolean {
    return this.#walk === null && this.#pinCount === 0;
  }

  /** Replaces the clock (milliseconds). */
  useClock(now: () => number): void {
    this.#now = now;
    if (!this.#idle) this.#then = now();
  }

  /** Pages written to since the device was opened. */
  get writes(): number {
    return this.#writes;
  }

  /** Whose memory it reaches; it lets go of what it pinned elsewhere. */
  reach(target: DmaTarget | null): void {
    for (const iova of this.#pins) this.#target?.unpin(iova);
    this.#target = target;
    this.#pins = [];
    this.#pinned = 0;
  }

  /** The device is opened. */
  open(): void {
    this.#writes = 0;
    this.reset();
  }

  /** The device is reset, or closed: it lets go of all memory. */
  reset(): void {
    for (const iova of this.#pins) this.#target?.unpin(iova);
    this.#pins = [];
    this.#pinned = 0;
    this.#walk?.restart();
    this.#owed = 0;
    if (!this.#idle) this.#then = this.#now();
  }

  /** Lets the time since the last call pass: a running device writes. */
  elapse(running: boolean): void {
    if (this.#idle) return;
    const now = this.#now();
    const elapsed = now - this.#then;
    this.#then = now;
    if (!running || this.#target === null) return;
    const memory = new WritableMemory(this.#target.mappings);
    if (memory.pages === 0) return;
    this.#pinFirst(memory);
    this.#owed += elapsed * this.#rate / 1000;
    const steps = Math.floor(this.#owed);
    this.#owed -= steps;
    for (let step = Math.min(steps, memory.pages * MAX_CATCH_UP); step > 0; step -= 1) {
      this.#stamp(memory.at(this.#walk!.next(memory.pages)));
    }
  }

  #stamp(iova: bigint): void {
    const stamp: Bytes = new Uint8Array(STAMP_BYTES);
    new DataView(stamp.buffer).setFloat64(0, this.#writes + 1, true);
    try {
      this.write(iova, stamp);
    } catch (error) {
      // Memory that is gone without having been unmapped: the device does not notice.
      if (!(error instanceof Refusal)) throw error;
    }
  }

  /** Pins the first pages there are, once. */
  #pinFirst(memory: WritableMemory): void {
    try {
      while (this.#pinned < Math.min(this.#pinCount, memory.pages)) {
        this.pin(memory.at(this.#pinned));
        this.#pinned += 1;
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }

  /** Writes bytes. */
  write(iova: bigint, from: Bytes): void {
    (this.#target ?? refuse("EINVAL")).write(iova, from);
    this.#writes += 1;
  }

  /** Pins a page. */
  pin(iova: bigint): void {
    (this.#target ?? refuse("EINVAL")).pin(iova);
    this.#pins.push(iova);
  }

  /** Unpins a page that it pinned. */
  unpin(iova: bigint): void {
    const index = this.#pins.indexOf(iova);
    if (index < 0) refuse("EINVAL");
    this.#pins.splice(index, 1);
    this.#target?.unpin(iova);
  }

  /** A mapping is gone: nothing in it is pinned any more. */
  unmapped(dma: Dma): void {
    this.#pins = this.#pins.filter((iova) => iova < dma.iova || dma.end <= iova);
  }
}

/** What may be written to, its pages counted through. */
class WritableMemory {
  readonly pages: number;
  readonly #list: readonly Dma[];
  /** The number of each mapping's first page. */
  readonly #first: readonly number[];

  constructor(mappings: Iterable<Dma>) {
    this.#list = [...mappings].filter(({ access }) => (access & VFIO_DMA_MAP_FLAG_WRITE) !== 0);
    let pages = 0;
    this.#first = this.#list.map((dma) => (pages += dma.pages) - dma.pages);
    this.pages = pages;
  }

  /** The address of a page. */
  at(page: number): bigint {
    let low = 0;
    let high = this.#list.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#first[middle]! <= page) low = middle;
      else high = middle - 1;
    }
    return this.#list[low]!.iova + BigInt(page - this.#first[low]!) * DMA_PAGE;
  }
}
