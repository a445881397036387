/**
 * The report of `dirty watch --report`: one HTML page that needs no network.
 *
 * The charts are uPlot's: 51 KB without any dependency, for axes, a cursor and
 * a zoom that all charts share. An SVG written here would be smaller, yet a
 * still picture, with an element for each cell of the heatmap.
 *
 * @module
 */

import uPlotScript from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uPlotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import { bytes, count, hex, time } from "../output/format.ts";
import { heat } from "../output/heatmap.ts";
import type { ForEachRun, MemoryMap } from "../dirty/memory_map.ts";
import type { TrackerName } from "../../src/dirty/mod.ts";
import type { Sample } from "../dirty/samples.ts";
import { Heat } from "./_hot_ranges.ts";
import { escape, figure, meter, page, percent, table } from "./html.ts";
import { Timeline } from "./_timeline.ts";
import pageStyle from "./page.css" with { type: "text" };
import pageScript from "./page.js" with { type: "text" };

/** Ranges in the table of hot ranges. */
const HOT_RANGES = 20;

/** What the report is about. */
export interface ReportSubject {
  /** The device's name. */
  readonly device: string;
  /** Who tracked them: the type1 IOMMU, or the device by its own log. */
  readonly tracker: TrackerName;
  /** When tracking began. */
  readonly started: Date;
  /** What wrote it: `vfiokit 1.2.3`. */
  readonly tool: string;
  /** The program that ran meanwhile. */
  readonly command?: readonly string[] | undefined;
}

/** Collects rounds; its memory does not grow with their number. */
export class Report {
  readonly #map: MemoryMap;
  readonly #timeline: Timeline;
  readonly #heat: Heat;
  readonly #notes = new Set<string>();
  #rounds = 0;
  #peak = 0;

  /** Starts without any round. */
  constructor(map: MemoryMap) {
    this.#map = map;
    this.#timeline = new Timeline(map);
    this.#heat = new Heat(map);
  }

  /** Adds a round. */
  add(sample: Sample, forEachRun: ForEachRun): void {
    this.#rounds++;
    this.#peak = Math.max(this.#peak, sample.pages / sample.seconds);
    for (const note of sample.notes) this.#notes.add(note);
    this.#timeline.add(sample, forEachRun);
    this.#heat.add(forEachRun);
  }

  /** The page. */
  html(subject: ReportSubject): string {
    const title = `Dirty pages of ${subject.device}`;
    const body = [
      `<h1>${escape(title)}</h1>`,
      `<p>${escape(summary(subject))}</p>`,
      this.#tiles(),
      this.#noteList(),
      ...(this.#rounds === 0 ? ["<p>No round was finished.</p>"] : this.#findings()),
      this.#mappings(),
      `<footer>Written by ${escape(subject.tool)}.</footer>`,
    ];
    return page({
      title,
      style: uPlotStyle + pageStyle,
      body: body.join("\n"),
      data: this.#data(),
      scripts: this.#rounds === 0 ? [] : [uPlotScript, pageScript],
    });
  }

  #tiles(): string {
    const { pgsize } = this.#map;
    const { columns } = this.#timeline;
    const last = columns.at(-1);
    const seconds = last === undefined ? 0 : last.end - columns[0]!.start;
    const pages = columns.reduce((sum, column) => sum + column.pages, 0);
    const distinct = last?.distinctPages ?? 0;
    const pinned = last?.pinnedPages ?? 0;
    const perSecond = (pages: number): string => `${bytes(Math.round(pages * pgsize))}/s`;
    const tiles: (readonly [name: string, value: string, more: string])[] = [
      ["memory", bytes(this.#map.bytes), `in pages of ${bytes(pgsize)}`],
      ["watched for", time(seconds), count(this.#rounds, "round")],
      [
        "dirty rate",
        seconds > 0 ? perSecond(pages / seconds) : "-",
        `at most ${perSecond(this.#peak)}`,
      ],
      ["working set", bytes(distinct * pgsize), `${percent(distinct / this.#map.pages)} of it all`],
      ...(pinned === 0 ? [] : [["pinned", bytes(pinned * pgsize), count(pinned, "page")] as const]),
    ];
    const items = tiles.map(([name, value, more]) =>
      `<div><dt>${name}</dt><dd>${value}</dd><dd>${more}</dd></div>`
    );
    return `<dl class="tiles">${items.join("")}</dl>`;
  }

  #noteList(): string {
    const items = [...this.#notes].map((note) => `<li>${escape(note)}</li>`);
    return items.length === 0 ? "" : `<ul class="notes">${items.join("")}</ul>`;
  }

  #findings(): string[] {
    const band = bytes(this.#timeline.bandPages * this.#map.pgsize);
    const plain = `Each cell is ${band} of memory. Point at one to read it; drag to zoom into a ` +
      "time, double-click to zoom out.";
    return [
      figure(
        "heatmap",
        "Where and when",
        "IOVA × time: the stronger the colour, the more pages were dirty.",
        `<div class="scale"><span>1 page</span><i></i><span>all ${band}</span></div>` +
          `<div class="readout" id="readout" data-plain="${plain}">${plain}</div>`,
      ),
      figure("rate", "Dirty rate", "Bytes of dirty pages, by time."),
      figure("set", "Working set", "Bytes of different pages that were dirty so far."),
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
      `${Number(pagesPerRound.toPrecision(3))} of ${pages}`,
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

  #mappings(): string {
    return table(
      "Memory",
      "What the device can reach.",
      ["IOVA", "size"],
      this.#map.mappings.map(({ iova, size }) => [range(iova, size), bytes(Number(size))]),
    );
  }

  #data(): unknown {
    const { columns, bands, bandPages } = this.#timeline;
    const { mappings, firstPages, pages, pgsize } = this.#map;
    return {
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

function summary({ tracker, started, command }: ReportSubject): string {
  const when = started.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
  const meanwhile = command === undefined ? "" : `, while this ran: ${command.join(" ")}`;
  const who = tracker === "device" ? "the device's own log" : "the type1 IOMMU";
  return `As ${who} tracked them from ${when} on${meanwhile}.`;
}

function range(iova: bigint, size: bigint): string {
  return `${hex(iova)}-<wbr>${hex(iova + size - 1n)}`;
}
