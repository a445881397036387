/**
 * Which pages a simulated device writes to, and how often: `dma=PATTERN`.
 */

import { nextRandom } from "../state/pages.ts";

/** How a device writes to memory. */
export interface DmaPattern {
  /** Which pages it writes to. */
  readonly kind: "random" | "sequential" | "hot";
  /** Pages per second. */
  readonly rate: number;
  /** For `hot`: this percentage of the writes … */
  readonly hotWrites: number;
  /** … goes to this percentage of the pages, counted from the first page. */
  readonly hotPages: number;
}

/** The syntax of a pattern. */
export const DMA_FORM = "random[:N/s] | sequential[:N/s] | hot:WRITES/PAGES[:N/s]";

const DEFAULT_RATE = 1000;

/** Parses a pattern; null if the text is not a pattern. */
export function parseDmaPattern(text: string): DmaPattern | null {
  const match = /^(?:(random|sequential)|hot:(\d{1,2})\/(\d{1,2}))(?::(\d{1,7})\/s)?$/.exec(text);
  if (match === null) return null;
  const [, plain, writes, pages, rate] = match;
  const hot = plain === undefined;
  if (hot && (Number(writes) === 0 || Number(pages) === 0)) return null;
  return {
    kind: hot ? "hot" : plain as "random" | "sequential",
    rate: rate === undefined ? DEFAULT_RATE : Number(rate),
    hotWrites: hot ? Number(writes) : 0,
    hotPages: hot ? Number(pages) : 0,
  };
}

/** Yields the pages that a pattern writes to, one after the other. */
export class DmaWalk {
  readonly #pattern: DmaPattern;
  readonly #seed: number;
  #random = 1;
  #next = 0;

  constructor(pattern: DmaPattern, seed: number) {
    this.#pattern = pattern;
    this.#seed = seed;
    this.restart();
  }

  /** Starts again from the beginning. */
  restart(): void {
    this.#random = (Math.imul(this.#seed, 0x9e3779b1) ^ 0x2545f491) >>> 0 || 1;
    this.#next = 0;
  }

  /** The next page, out of `pages` pages (at least one). */
  next(pages: number): number {
    switch (this.#pattern.kind) {
      case "sequential": {
        const page = this.#next % pages;
        this.#next = page + 1;
        return page;
      }
      case "random":
        return this.#below(pages);
      case "hot": {
        const hot = Math.max(1, Math.floor(pages * this.#pattern.hotPages / 100));
        const isHot = this.#below(100) < this.#pattern.hotWrites || hot === pages;
        return isHot ? this.#below(hot) : hot + this.#below(pages - hot);
      }
    }
  }

  #below(limit: number): number {
    this.#random = nextRandom(this.#random);
    return Math.floor(this.#random / 2 ** 32 * limit);
  }
}
