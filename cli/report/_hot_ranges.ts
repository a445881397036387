/** The ranges of memory that are dirtied most. */

import type { ForEachRun, MemoryMap } from "../dirty/memory_map.ts";

/** Memory is divided into blocks; if it has no more pages than this, each block is one page. */
const MAX_BLOCKS = 2 ** 20;
/** Gaps of up to this many blocks that were never dirty are bridged. */
const BRIDGED = 64;
/** Blocks that are dirty in at least this share of the rounds form separate ranges. */
const OFTEN = 0.5;

/** A range of memory that is dirtied. */
export interface HotRange {
  /** Where it begins. */
  readonly iova: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** Its pages. */
  readonly pages: number;
  /** Average number of dirty pages per round. */
  readonly pagesPerRound: number;
  /** Its share of all dirty pages, from 0 to 1; a page counts in each round. */
  readonly share: number;
}

/** Counts how often each block of memory was dirty. */
export class Heat {
  readonly #map: MemoryMap;
  readonly #blockPages: number;
  /** Dirty pages of each block, in all rounds together. */
  readonly #hits: Float64Array;
  /** Number of rounds in which each block was dirty. */
  readonly #rounds: Uint32Array;
  #total = 0;
  #roundCount = 0;

  /** Starts without any round. */
  constructor(map: MemoryMap) {
    this.#map = map;
    this.#blockPages = 2 ** Math.max(0, Math.ceil(Math.log2(map.pages / MAX_BLOCKS)));
    const blocks = Math.ceil(map.pages / this.#blockPages);
    this.#hits = new Float64Array(blocks);
    this.#rounds = new Uint32Array(blocks);
  }

  /** Adds a round. */
  add(forEachRun: ForEachRun): void {
    let counted = -1;
    this.#roundCount++;
    forEachRun((page, pages) => {
      const end = page + pages;
      this.#total += pages;
      for (let at = page; at < end;) {
        const block = Math.floor(at / this.#blockPages);
        const next = Math.min(end, (block + 1) * this.#blockPages);
        this.#hits[block]! += next - at;
        if (block !== counted) this.#rounds[block]!++;
        counted = block;
        at = next;
      }
    });
  }

  /** The ranges with most of the dirty pages, at most this many, hottest first. */
  hottest(limit: number): HotRange[] {
    const ranges: HotRange[] = [];
    let first = -1;
    let last = -1;
    let hits = 0;
    const end = (): void => {
      if (first >= 0) ranges.push(this.#range(first, last, hits));
    };
    for (let block = 0; block < this.#hits.length; block++) {
      if (this.#hits[block] === 0) continue;
      if (first < 0 || !this.#belong(last, block)) {
        end();
        first = block;
        hits = 0;
      }
      last = block;
      hits += this.#hits[block]!;
    }
    end();
    return ranges.sort((a, b) => b.share - a.share || (a.iova < b.iova ? -1 : 1)).slice(0, limit);
  }

  #belong(before: number, block: number): boolean {
    return block - before - 1 <= BRIDGED && this.#often(before) === this.#often(block) &&
      this.#mapping(before) === this.#mapping(block);
  }

  #often(block: number): boolean {
    return this.#rounds[block]! >= OFTEN * this.#roundCount;
  }

  #mapping(block: number): number {
    return this.#map.mappingOf(block * this.#blockPages);
  }

  #range(first: number, last: number, hits: number): HotRange {
    const from = first * this.#blockPages;
    const to = Math.min((last + 1) * this.#blockPages, this.#map.pages);
    return {
      iova: this.#map.iovaOf(from),
      size: this.#map.iovaOf(to - 1) + BigInt(this.#map.pgsize) - this.#map.iovaOf(from),
      pages: to - from,
      pagesPerRound: hits / this.#roundCount,
      share: hits / this.#total,
    };
  }
}
