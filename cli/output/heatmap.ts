/**
 * A heatmap for a terminal: one line per round, IOVAs from left to right.
 *
 * @module
 */

import { styleText } from "node:util";
import { bytes, hex } from "./format.ts";
import { countInBands, type ForEachRun, type MemoryMap } from "../dirty/memory_map.ts";

/** The cells, from a few dirty pages to all. */
const LEVELS = [
  { cell: "░", colour: "blue" },
  { cell: "▒", colour: "cyan" },
  { cell: "▓", colour: "yellow" },
  { cell: "█", colour: "red" },
] as const;

/** Draws rounds as lines of cells. */
export class Heatmap {
  readonly #map: MemoryMap;
  readonly #bandPages: number;
  readonly #bands: number;
  readonly #coloured: boolean;

  /** Makes a heatmap with this many cells per line, or fewer if there are fewer pages. */
  constructor(map: MemoryMap, cells: number, coloured: boolean) {
    this.#map = map;
    this.#bandPages = Math.max(1, Math.ceil(map.pages / cells));
    this.#bands = Math.ceil(map.pages / this.#bandPages);
    this.#coloured = coloured;
  }

  /** What the cells mean. */
  get key(): string {
    const cells = LEVELS.map((level) => this.#cell(level)).join("");
    return `Each cell is ${bytes(this.#bandPages * this.#map.pgsize)} of memory: ` +
      `${cells} from one page to all of them.`;
  }

  /** The first and the last IOVA, above the cells. */
  get heading(): string {
    const first = hex(this.#map.iovaOf(0));
    const last = hex(this.#map.iovaOf(this.#map.pages - 1) + BigInt(this.#map.pgsize) - 1n);
    const gap = this.#bands - first.length - last.length;
    return gap > 0 ? `${first}${" ".repeat(gap)}${last}` : first;
  }

  /** The cells of a round. */
  line(forEachRun: ForEachRun): string {
    const dirty = new Float64Array(this.#bands);
    countInBands(forEachRun, this.#bandPages, dirty);
    let line = "";
    for (const [band, pages] of dirty.entries()) {
      const all = Math.min(this.#bandPages, this.#map.pages - band * this.#bandPages);
      const level = Math.ceil(LEVELS.length * heat(pages, all));
      line += level === 0 ? " " : this.#cell(LEVELS[level - 1]!);
    }
    return line.trimEnd();
  }

  #cell({ cell, colour }: (typeof LEVELS)[number]): string {
    return this.#coloured ? styleText(colour, cell, { validateStream: false }) : cell;
  }
}

/**
 * How much of a band is dirty, from 0 to 1 on a logarithmic scale, so that a single page among
 * thousands shows.
 */
export function heat(dirty: number, pages: number): number {
  return Math.min(1, Math.log(1 + dirty) / Math.log(1 + pages));
}
