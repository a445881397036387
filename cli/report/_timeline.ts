/** The columns of the report's charts: rounds, added up if there are too many. */

import { countInBands, type ForEachRun, type MemoryMap } from "../dirty/memory_map.ts";
import type { Sample } from "../dirty/samples.ts";

/** Maximum number of columns: a watch may last for days. */
const MAX_COLUMNS = 720;
/** Maximum number of bands of memory. */
const MAX_BANDS = 160;

/** Some rounds, one after the other. */
export interface Column {
  /** Seconds from the beginning of tracking to that of the first round. */
  readonly start: number;
  /** To the end of the last one. */
  readonly end: number;
  /** How many rounds. */
  readonly rounds: number;
  /** Dirty pages, of all rounds together. */
  readonly pages: number;
  /** Pages dirty in these or in earlier rounds. */
  readonly distinctPages: number;
  /** Pinned pages in the last round; null if not known. */
  readonly pinnedPages: number | null;
  /** Dirty pages of each band, of all rounds together. */
  readonly bands: Float64Array;
}

/** What happened when, and where in memory. */
export class Timeline {
  /** Pages of a band; the last band may have fewer. */
  readonly bandPages: number;
  /** How many bands there are. */
  readonly bands: number;
  #columns: Column[] = [];
  #roundsPerColumn = 1;

  /** Starts without any round. */
  constructor(map: MemoryMap) {
    this.bandPages = Math.max(1, Math.ceil(map.pages / MAX_BANDS));
    this.bands = Math.ceil(map.pages / this.bandPages);
  }

  /** The columns so far. */
  get columns(): readonly Column[] {
    return this.#columns;
  }

  /** Adds a round. */
  add(sample: Sample, forEachRun: ForEachRun): void {
    const bands = new Float64Array(this.bands);
    countInBands(forEachRun, this.bandPages, bands);
    const { time, seconds, pages, distinctPages, pinnedPages } = sample;
    const round = {
      start: time - seconds,
      end: time,
      rounds: 1,
      pages,
      distinctPages,
      pinnedPages,
      bands,
    };
    const last = this.#columns.at(-1);
    if (last !== undefined && last.rounds < this.#roundsPerColumn) {
      this.#columns[this.#columns.length - 1] = together(last, round);
      return;
    }
    this.#columns.push(round);
    if (this.#columns.length > MAX_COLUMNS) this.#halve();
  }

  #halve(): void {
    const columns = this.#columns;
    this.#columns = [];
    for (let index = 0; index < columns.length; index += 2) {
      const next = columns[index + 1];
      this.#columns.push(next === undefined ? columns[index]! : together(columns[index]!, next));
    }
    this.#roundsPerColumn *= 2;
  }
}

function together(first: Column, then: Column): Column {
  return {
    start: first.start,
    end: then.end,
    rounds: first.rounds + then.rounds,
    pages: first.pages + then.pages,
    distinctPages: then.distinctPages,
    pinnedPages: then.pinnedPages,
    bands: first.bands.map((pages, band) => pages + then.bands[band]!),
  };
}
