/**
 * `vfiokit dirty watch`: dirty pages, round after round.
 *
 * @module
 */

import process from "node:process";
import deno from "../../../deno.json" with { type: "json" };
import { CheckpointFileError } from "../../../mod.ts";
import type { DirtySession } from "../../../src/dirty/mod.ts";
import type { Context } from "../../context.ts";
import { mayColour } from "../../env.ts";
import { bytes, count, rate, time } from "../../output/format.ts";
import { Heatmap } from "../../output/heatmap.ts";
import { beforeEnd, startSpan } from "../../dirty/measured_span.ts";
import { ReportFile } from "../../report/report_file.ts";
import type { WatchRound } from "../../dirty/rounds.ts";
import { type Sample, sampleFields } from "../../dirty/samples.ts";
import { mapOf, openSession, serveSimulated, tellTracker } from "../../dirty/open_session.ts";
import { readerGone, STDOUT } from "../../output/stdio.ts";
import { UsageError } from "../../usage_error.ts";
import { watch } from "../../dirty/watch_rounds.ts";
import type { ReportSubject } from "../../report/dirty_report.ts";
import type { DirtyWatchArgs } from "../../specs/dirty_unmap.ts";

/** Columns where the width of the terminal is not known. */
const WIDTH = 132;
/** Cells of the heatmap that are drawn however narrow the terminal is. */
const MIN_CELLS = 16;

/** The columns of a line, and how wide they are. */
const COLUMNS = [
  ["round", 6],
  ["time", 9],
  ["pages", 9],
  ["bytes", 11],
  ["rate", 13],
  ["working set", 13],
  ["pinned", 8],
] as const;

/** Runs `dirty watch`. */
export async function run(args: DirtyWatchArgs, context: Context): Promise<number> {
  checkUsage(args);
  await using report = args.report === undefined
    ? null
    : await ReportFile.create(args.report, args.force);
  await using served = await serveSimulated(args);
  using session = openSession(args, served, context);
  await report?.begin(mapOf(session));
  const subject = subjectOf(args, session);
  const lines = new Lines(session, args.heatmap, context);
  tellTracker(session, context);
  session.tracker.start();
  const { ended, exitCode } = startSpan(session, args.command, context);
  const ending = await beforeEnd(exitCode, async () => {
    try {
      const { every, rounds } = args;
      await lines.begin();
      for await (const round of watch(session, { every, rounds, stop: ended })) {
        report?.add(round);
        await lines.add(round);
        if (lines.stalled) break;
        // The end of a program is waited for all the same.
        if (report === null && args.command === undefined) checkReader();
      }
      session.tracker.stop();
    } catch (error) {
      await report?.rescue(subject, context);
      throw error;
    }
  });
  await lines.end();
  await report?.write(subject, context);
  return ending;
}

function checkUsage({ every, json, heatmap, report }: DirtyWatchArgs): void {
  if (every === 0) throw new UsageError("Cannot read every 0ms: name a longer time");
  if (json && heatmap) {
    throw new UsageError("Cannot use both --json and --heatmap: there is room for one of them");
  }
  if (report === "-") {
    throw new UsageError("Cannot write the report to stdout: the rounds go there; name a file");
  }
}

function subjectOf(
  { device, command }: DirtyWatchArgs,
  { tracker }: DirtySession,
): ReportSubject {
  const tool = `vfiokit ${deno.version}`;
  return { device, tracker: tracker.name, started: new Date(), tool, command };
}

/** Without a report, a watch that nobody reads is over. */
function checkReader(): void {
  if (!readerGone(STDOUT)) return;
  const message = "Cannot write the rounds to stdout: EPIPE (broken pipe)";
  throw new CheckpointFileError(message, { path: "-", code: "EPIPE" });
}

/** What is printed of the rounds. */
class Lines {
  readonly #context: Context;
  readonly #heatmap: Heatmap | null;
  readonly #said = new Set<string>();
  /** Whether a signal came while nobody read stdout: nothing more is written there. */
  stalled = false;
  #last: Sample | null = null;
  #pages = 0;

  constructor(session: DirtySession, heatmap: boolean, context: Context) {
    this.#context = context;
    const taken = COLUMNS.reduce((sum, [, width]) => sum + width, 2);
    const cells = Math.max(MIN_CELLS, (process.stdout.columns ?? WIDTH) - taken);
    this.#heatmap = heatmap ? new Heatmap(mapOf(session), cells, mayColour(process.stdout)) : null;
    if (this.#heatmap !== null) context.noteColoured(this.#heatmap.key);
  }

  async begin(): Promise<void> {
    if (this.#context.json) return;
    const head = line(COLUMNS.map(([head]) => head), this.#heatmap?.heading);
    this.stalled = !await this.#context.linesInTime(head);
  }

  async add({ sample, forEachRun }: WatchRound): Promise<void> {
    this.#last = sample;
    this.#pages += sample.pages;
    const round = this.#context.json
      ? sampleFields(sample)
      : line(cellsOf(sample), this.#heatmap?.line(forEachRun));
    this.stalled = !await this.#context.linesInTime(round);
    for (const note of sample.notes) {
      if (!this.#said.has(note)) this.#context.note(note);
      this.#said.add(note);
    }
  }

  async end(): Promise<void> {
    if (this.stalled) return;
    if (this.#last === null) {
      this.#context.note("No round was finished.");
      return;
    }
    const { round, time: seconds, pgsize, distinctPages } = this.#last;
    if (this.#context.json) return;
    await this.#context.linesInTime(
      `${count(round, "round")} in ${time(seconds)}: ${rate(this.#pages * pgsize, seconds)}, ` +
        `working set ${bytes(distinctPages * pgsize)} (${count(distinctPages, "page")}).`,
    );
  }
}

function cellsOf(sample: Sample): string[] {
  const { round, time: seconds, pgsize, pages, distinctPages, pinnedPages } = sample;
  return [
    String(round),
    time(seconds),
    String(pages),
    bytes(pages * pgsize),
    rate(pages * pgsize, sample.seconds),
    bytes(distinctPages * pgsize),
    pinnedPages === null ? "-" : String(pinnedPages),
  ];
}

function line(cells: readonly string[], heat: string | undefined): string {
  const text = cells.map((cell, index) => cell.padStart(COLUMNS[index]![1])).join("");
  return heat === undefined ? text : `${text}  ${heat}`.trimEnd();
}
