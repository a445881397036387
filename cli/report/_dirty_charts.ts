/**
 * The charts of a device's dirty pages, and the tables with them.
 *
 * The charts are uPlot's: 51 KB without any dependency, for axes, a cursor and
 * a zoom that all charts share. An SVG written here would be smaller, yet a
 * still picture, with an element for each cell of the heatmap.
 */

import uPlotScript from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uPlotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import type { ForEachRun, MemoryMap } from "../dirty/memory_map.ts";
import type { Sample } from "../dirty/samples.ts";
import { bytes, hex } from "../output/format.ts";
import { heat } from "../output/heatmap.ts";
import { Heat } from "./_hot_ranges.ts";
import { type Column, Timeline } from "./_timeline.ts";
import { figure, meter, table } from "./html.ts";
import pageScript from "./page.js" with { type: "text" };

/** Ranges in the table of hot ranges. */
const HOT_RANGES = 20;

/** The stylesheet of the charts. */
export const chartStyle: string = uPlotStyle;

/** The scripts that draw them; a page's data is a list of what {@linkcode DirtyCharts.data} returns. */
export const chartScripts: readonly string[] = [uPlotScript, pageScript];

/** Collects the rounds of one memory; what it holds does not grow with their number. */
export class DirtyCharts {
  readonly #map: MemoryMap;
  readonly #name: string;
  readonly #timeline: Timeline;
  readonly #heat: Heat;

  /** Starts without any round; `name` tells its charts from others of the page. */
  constructor(map: MemoryMap, name = "") {
    this.#map = map;
    this.#name = name;
    this.#timeline = new Timeline(map);
    this.#heat = new Heat(map);
  }

  /** The rounds so far, added up if there are many. */
  get columns(): readonly Column[] {
    return this.#timeline.columns;
  }

  /** Adds a round. */
  add(sample: Sample, forEachRun: ForEachRun): void {
    this.#timeline.add(sample, forEachRun);
    this.#heat.add(forEachRun);
  }

  /** The charts, with what a reader can do, and the ranges that are dirtied most. */
  figures(): string[] {
    const band = bytes(this.#timeline.bandPages * this.#map.pgsize);
    const plain = `Each cell is ${band} of memory. Point at one to read it; drag to zoom into a ` +
      "time, double-click to zoom out.";
    return [
      figure(
        `heatmap${this.#name}`,
        "Where and when",
        "IOVA × time: the stronger the colour, the more pages were dirty.",
        `<div class="scale"><span>1 page</span><i></i><span>all ${band}</span></div>` +
          `<div class="readout" id="readout${this.#name}" data-plain="${plain}">${plain}</div>`,
      ),
      figure(`rate${this.#name}`, "Dirty rate", "Bytes of dirty pages, by time."),
      figure(`set${this.#name}`, "Working set", "Bytes of different pages that were dirty so far."),
      "<noscript><p>The charts need JavaScript; the tables do not.</p></noscript>",
      this.#hotRanges(),
    ];
  }

  #hotRanges(): string {
    const rows = this.#heat.hottest(HOT_RANGES).map((
      { iova, size, pages, pagesPerRound, share },
    ) => [
      range(iova, size),
      bytes(Number(size)),
      meter(share),
      meter(pagesPerRound / pages),
      `${
        pagesPerRound < 100 ? Number(pagesPerRound.toPrecision(3)) : Math.round(pagesPerRound)
      } of ${pages}`,
    ]);
    return table(
      "Hot ranges",
      rows.length === 0
        ? "No page was dirty."
        : "By their share of all dirty pages. What is dirty in half of the rounds or more is kept " +
          "apart from what is less often.",
      ["IOVA", "size", "of all dirty pages", "of the range", "pages a round"],
      rows,
    );
  }

  /** The mappings. */
  mappings(): string {
    return table(
      "Memory",
      "What the device can reach.",
      ["IOVA", "size"],
      this.#map.mappings.map(({ iova, size }) => [range(iova, size), bytes(Number(size))]),
    );
  }

  /** What the script draws. */
  data(): unknown {
    const { columns, bands, bandPages } = this.#timeline;
    const { mappings, firstPages, pages, pgsize } = this.#map;
    return {
      name: this.#name,
      pages,
      pgsize,
      bands,
      bandPages,
      mappings: mappings.map(({ iova, size }, index) => ({
        iova: hex(iova),
        bytes: Number(size),
        firstPage: firstPages[index],
      })),
      columns: columns.map(({ bands: _, ...column }) => column),
      cells: this.#cells().toBase64(),
    };
  }

  /** A byte a cell, column by column: 0 is clean, 1 to 255 rise with the logarithm. */
  #cells(): Uint8Array {
    const { columns, bands, bandPages } = this.#timeline;
    const cells = new Uint8Array(columns.length * bands);
    for (const [index, column] of columns.entries()) {
      for (let band = 0; band < bands; band++) {
        const pages = Math.min(bandPages, this.#map.pages - band * bandPages);
        const dirty = column.bands[band]! / column.rounds;
        cells[index * bands + band] = Math.ceil(255 * heat(dirty, pages));
      }
    }
    return cells;
  }
}

function range(iova: bigint, size: bigint): string {
  return `${hex(iova)}-<wbr>${hex(iova + size - 1n)}`;
}
