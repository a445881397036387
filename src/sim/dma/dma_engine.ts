/**
 * The DMA engine of a simulated device: the pages it writes to, and those it pins.
 */

import { VFIO_DMA_MAP_FLAG_WRITE } from "../../uapi/mod.ts";
import { type DmaPattern, DmaWalk } from "./dma_pattern.ts";
import { type Dma, DMA_PAGE } from "../iommu/dma_list.ts";
import type { DmaTarget } from "../iommu/iommu_member.ts";
import { Refusal, refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";

/** After a long time without a call, a device writes to each page at most this many times. */
const MAX_CATCH_UP = 4;

/** Size of the stamp that a device writes into a page, in bytes. */
const STAMP_BYTES = 8;

/** A device's DMA: by a pattern, and on request. */
export class DmaEngine {
  readonly #rate: number;
  readonly #walk: DmaWalk | null;
  readonly #pinCount: number;
  #now: () => number;
  #lastTime = 0;
  #owed = 0;
  #writes = 0;
  #target: DmaTarget | null = null;
  /** Pages that this device holds pinned, one entry per pin. */
  #pins: bigint[] = [];
  /** How many pages it has pinned by itself since it was opened, including unmapped ones. */
  #pinned = 0;

  /** DMA by a pattern (null: none), with `pin` pages pinned while the device runs. */
  constructor(pattern: DmaPattern | null, pin: number, seed: number, now: () => number) {
    this.#rate = pattern?.rate ?? 0;
    this.#walk = pattern === null ? null : new DmaWalk(pattern, seed);
    this.#pinCount = pin;
    this.#now = now;
  }

  /** Whether it does nothing by itself; then it never reads the clock. */
  get #idle(): boolean {
    return this.#walk === null && this.#pinCount === 0;
  }

  /** Replaces the clock (milliseconds). */
  useClock(now: () => number): void {
    this.#now = now;
    if (!this.#idle) this.#lastTime = now();
  }

  /** Writes since the device was opened. */
  get writes(): number {
    return this.#writes;
  }

  /** Sets the memory that the device reaches, and unpins the pages of the previous one. */
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

  /** The device is reset or closed: it unpins all pages. */
  reset(): void {
    for (const iova of this.#pins) this.#target?.unpin(iova);
    this.#pins = [];
    this.#pinned = 0;
    this.#walk?.restart();
    this.#owed = 0;
    if (!this.#idle) this.#lastTime = this.#now();
  }

  /** Applies the time since the last call: a running device writes. */
  elapse(running: boolean): void {
    if (this.#idle) return;
    const now = this.#now();
    const elapsed = now - this.#lastTime;
    this.#lastTime = now;
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
      // The memory is gone, but was not unmapped. The device does not notice.
      if (!(error instanceof Refusal)) throw error;
    }
  }

  /** Pins the first mapped pages, once. */
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

  /** Unpins a page that this device pinned. */
  unpin(iova: bigint): void {
    const index = this.#pins.indexOf(iova);
    if (index < 0) refuse("EINVAL");
    this.#pins.splice(index, 1);
    this.#target?.unpin(iova);
  }

  /** A mapping was removed, and with it the pins of its pages. */
  unmapped(dma: Dma): void {
    this.#pins = this.#pins.filter((iova) => iova < dma.iova || dma.end <= iova);
  }
}

/** The writable mappings, with their pages numbered consecutively. */
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
