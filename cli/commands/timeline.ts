/**
 * `vfiokit timeline`: what devices did over time.
 *
 * @module
 */

import { printable } from "../../src/base/printable.ts";
import { VERSION } from "../../src/base/version.ts";
import { formatCall } from "../../src/trace/mod.ts";
import type { Context } from "../context.ts";
import { standstillWords } from "../output/downtime_words.ts";
import { bytes, count, rate, shortTime, time } from "../output/format.ts";
import { storedTimeLines, type StoredTimes } from "../output/stored_times.ts";
import { table } from "../output/table.ts";
import { PageFile } from "../report/page_file.ts";
import type { TimelineArgs } from "../specs/trace_timeline.ts";
import {
  readTimelines,
  type StoredPhase,
  type Timelines,
  type TracedDevice,
} from "../timeline/timelines.ts";

/** So many of the slowest calls are printed; the report and the JSON have more. */
const SLOWEST = 5;
/** So many rounds are printed. */
const ROUNDS = 20;
const right = "right" as const;

/** Runs `timeline`. */
export async function run(args: TimelineArgs, context: Context): Promise<number> {
  context.set({ file: args.file, kind: null, devices: null, phases: null });
  await using report = args.report === undefined
    ? null
    : await PageFile.create(args.report, args.force);
  const found = await readTimelines(args.file, context.signal);
  document(found, context);
  if (report !== null) {
    const { timelinePage } = await import("../report/timeline_page.ts");
    await report.write(timelinePage(found, args.file, `vfiokit ${VERSION}`), context);
  }
  if (found.kind === "checkpoint") {
    context.print(
      ...phaseTable(found.phases),
      ...storedTimeLines(found.devices),
      ...found.devices.flatMap(roundTable),
    );
    context.note(
      "What came after the data, and the calls, are in a trace only: save --trace FILE.",
    );
  } else for (const device of found.devices) context.print(...deviceLines(device));
  return 0;
}

function document(found: Timelines, context: Context): void {
  if (found.kind === "checkpoint") {
    const { kind, phases, devices } = found;
    return context.set({ kind, phases, devices });
  }
  context.set({
    kind: found.kind,
    devices: found.devices.map(({ slowest, standstill, ...device }) => ({
      ...device,
      downtime: standstill === null
        ? null
        : { seconds: standstill.seconds, parts: standstill.parts },
      slowest: slowest.map((event) => ({
        time: event.time,
        duration: event.duration,
        text: formatCall(event),
      })),
    })),
  });
}

function phaseTable(phases: readonly StoredPhase[]): string[] {
  return table(
    [
      { head: "device", align: right },
      { head: "phase" },
      { head: "transactions", align: right },
      { head: "bytes", align: right },
      { head: "time", align: right },
      { head: "rate", align: right },
    ],
    phases.map(({ device, phase, transactions, bytes: moved, seconds }) => [
      ...[String(device), phase, String(transactions), bytes(moved), time(seconds)],
      rate(moved, seconds),
    ]),
  );
}

/** The first rounds of pre-copy. */
function roundTable({ precopy }: StoredTimes, number: number): string[] {
  if (precopy === null || precopy.rounds.length === 0) return [];
  return table(
    [
      { head: "device", align: right },
      { head: "round", align: right },
      { head: "pending", align: right },
      { head: "bytes", align: right },
      { head: "time", align: right },
      { head: "rate", align: right },
    ],
    precopy.rounds.slice(0, ROUNDS).map(({ pending, bytes: moved, seconds }, round) => [
      ...[String(number), String(round + 1), bytes(pending), bytes(moved), time(seconds)],
      rate(moved, seconds),
    ]),
  );
}

function deviceLines(device: TracedDevice): string[] {
  const { states, standstill, calls, slowest } = device;
  return [
    `${device.device}: ${count(states.length, "state")}`,
    ...table(
      [
        { head: "state" },
        { head: "entered", align: right },
        { head: "for", align: right },
        { head: "bytes", align: right },
      ],
      states.map(({ state, begun, ended, left, bytes: moved }) => [
        printable(state),
        time(begun / 1e6),
        shortTime((left ?? ended) - begun),
        moved === 0 ? "-" : bytes(moved),
      ]),
    ),
    ...(standstill === null ? [] : [`It ${standstillWords(standstill)}`]),
    ...table(
      [
        { head: "call" },
        { head: "calls", align: right },
        { head: "failed", align: right },
        { head: "total", align: right },
        { head: "mean", align: right },
        { head: "longest", align: right },
      ],
      calls.map(({ name, count, failed, total, longest }) => [
        ...[printable(name), String(count), failed === 0 ? "-" : String(failed)],
        ...[shortTime(total), shortTime(total / count), shortTime(longest)],
      ]),
    ),
    "The slowest calls:",
    ...slowest.slice(0, SLOWEST).map((event) =>
      `  ${shortTime(event.duration).padStart(9)}  ${formatCall(event)}`
    ),
  ];
}
