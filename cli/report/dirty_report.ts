/**
 * The report of `dirty watch --report`: one HTML page that needs no network.
 *
 * @module
 */

import { bytes, count, time } from "../output/format.ts";
import type { ForEachRun, MemoryMap } from "../dirty/memory_map.ts";
import type { TrackerName } from "../../src/dirty/mod.ts";
import type { Sample } from "../dirty/samples.ts";
import { chartScripts, chartStyle, DirtyCharts } from "./_dirty_charts.ts";
import { escape, noteList, page, percent, tiles } from "./html.ts";
import pageStyle from "./page.css" with { type: "text" };

/** What tracks dirty pages. */
const TRACKERS: Readonly<Record<TrackerName, string>> = {
  type1: "the type1 IOMMU",
  device: "the device's own log",
  iommufd: "the IOMMU's page table",
};

/** What the report is about. */
export interface ReportSubject {
  /** The device's name. */
  readonly device: string;
  /** Who tracked them. */
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
  readonly #charts: DirtyCharts;
  readonly #notes = new Set<string>();
  #rounds = 0;
  #peak = 0;

  /** Starts without any round. */
  constructor(map: MemoryMap) {
    this.#map = map;
    this.#charts = new DirtyCharts(map);
  }

  /** Adds a round. */
  add(sample: Sample, forEachRun: ForEachRun): void {
    this.#rounds++;
    this.#peak = Math.max(this.#peak, sample.pages / sample.seconds);
    for (const note of sample.notes) this.#notes.add(note);
    this.#charts.add(sample, forEachRun);
  }

  /** The page. */
  html(subject: ReportSubject): string {
    const title = `Dirty pages of ${subject.device}`;
    const body = [
      `<h1>${escape(title)}</h1>`,
      `<p>${escape(summary(subject))}</p>`,
      this.#tiles(),
      noteList(this.#notes),
      ...(this.#rounds === 0 ? ["<p>No round was finished.</p>"] : this.#charts.figures()),
      this.#charts.mappings(),
      `<footer>Written by ${escape(subject.tool)}.</footer>`,
    ];
    return page({
      title,
      style: chartStyle + pageStyle,
      body: body.join("\n"),
      data: this.#rounds === 0 ? null : [this.#charts.data()],
      scripts: this.#rounds === 0 ? [] : chartScripts,
    });
  }

  #tiles(): string {
    const { pgsize } = this.#map;
    const { columns } = this.#charts;
    const last = columns.at(-1);
    const seconds = last === undefined ? 0 : last.end - columns[0]!.start;
    const pages = columns.reduce((sum, column) => sum + column.pages, 0);
    const distinct = last?.distinctPages ?? 0;
    const pinned = last?.pinnedPages ?? 0;
    const perSecond = (pages: number): string => `${bytes(Math.round(pages * pgsize))}/s`;
    return tiles([
      ["memory", bytes(this.#map.bytes), `in pages of ${bytes(pgsize)}`],
      ["watched for", time(seconds), count(this.#rounds, "round")],
      [
        "dirty rate",
        seconds > 0 ? perSecond(pages / seconds) : "-",
        `at most ${perSecond(this.#peak)}`,
      ],
      ["working set", bytes(distinct * pgsize), `${percent(distinct / this.#map.pages)} of it all`],
      ...(pinned === 0 ? [] : [["pinned", bytes(pinned * pgsize), count(pinned, "page")] as const]),
    ]);
  }
}

function summary({ tracker, started, command }: ReportSubject): string {
  const when = started.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
  const meanwhile = command === undefined ? "" : `, while this ran: ${command.join(" ")}`;
  return `As ${TRACKERS[tracker]} tracked them from ${when} on${meanwhile}.`;
}
