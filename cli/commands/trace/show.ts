/**
 * `vfiokit trace show`: the calls of a trace.
 *
 * @module
 */

import { printable } from "../../../src/base/printable.ts";
import { type CheckpointFile, createCheckpointFile } from "../../../src/checkpoint/mod.ts";
import {
  type BegunCall,
  formatCall,
  perfettoJson,
  readTrace,
  type TraceEvent,
  type TraceHeader,
} from "../../../src/trace/mod.ts";
import type { Context } from "../../context.ts";
import { shortTime } from "../../output/format.ts";
import type { TraceShowArgs } from "../../specs/trace_timeline.ts";

/** So many lines are written at a time. */
const LINES = 256;

/** Runs `trace show`. */
export async function run(args: TraceShowArgs, context: Context): Promise<number> {
  if (args.perfetto !== undefined) {
    await writePerfetto(args.file, args.perfetto, args.force);
    context.note(`${args.perfetto} can be opened in Perfetto or chrome://tracing.`);
    // Without any other wish the file is the result.
    if (args.filter.length === 0 && args.slowerThan === undefined && !args.json) return 0;
  }
  await show(args, context);
  return 0;
}

async function show(args: TraceShowArgs, context: Context): Promise<void> {
  using trace = readTrace(args.file);
  if (!args.json) context.note(about(trace.header));
  const wanted = filter(args);
  const threads = new Map<number, string>();
  /** The last call of each thread that has a line of its begin. */
  const begun = new Map<number, BegunCall>();
  const unfinished = (): (Readonly<Record<string, unknown>> | string)[] =>
    [...begun.values()].map((call) =>
      args.json ? { ...call } : printable(
        `${timeText(call.time)} ${threads.size > 1 ? `[${call.thread}] ` : ""}` +
          `${formatCall(call)} has not returned`,
      )
    );
  let waiting: (Readonly<Record<string, unknown>> | string)[] = [];
  const flush = async (): Promise<void> => {
    const lines = waiting;
    waiting = [];
    if (lines.length > 0 && !await context.linesInTime(...lines)) throw context.signal.reason;
  };
  try {
    for (const line of trace.lines()) {
      if (line.type === "call" && begun.get(line.thread)?.n === line.n) begun.delete(line.thread);
      if (line.type === "thread") {
        threads.set(line.thread, line.device);
        if (!args.json) {
          waiting.push(printable(`thread ${line.thread}: ${line.device}, kernel ${line.kernel}`));
        }
      } else if (line.type === "begun") {
        begun.set(line.thread, line);
      } else if (wanted(line)) {
        waiting.push(args.json ? { ...line } : printable(text(line, threads.size > 1)));
      }
      if (waiting.length < LINES) continue;
      await flush();
      context.signal.throwIfAborted();
    }
  } catch (error) {
    // What can be read of a broken trace is shown.
    const left = [...waiting, ...unfinished()];
    if (!context.signal.aborted && left.length > 0) await context.linesInTime(...left);
    throw error;
  }
  waiting.push(...unfinished());
  await flush();
}

function about({ version, kernel, devices, started, data }: TraceHeader): string {
  const when = new Date(started).toISOString();
  const what = devices.length === 0 ? "" : ` of ${devices.join(", ")}`;
  const where = kernel === null ? "" : `, Linux ${kernel}`;
  return `A trace${what}, begun ${when} by vfiokit ${version}${where}${data ? ", with data" : ""}`;
}

function timeText(micros: number): string {
  return (micros / 1e6).toFixed(6).padStart(11);
}

function text(event: TraceEvent, threads: boolean): string {
  const thread = threads ? `[${event.thread}] ` : "";
  return `${timeText(event.time)} ${thread}${formatCall(event)} <${shortTime(event.duration)}>`;
}

function filter({ filter: words, slowerThan = -1 }: TraceShowArgs): (event: TraceEvent) => boolean {
  const wanted = words.map((word) => word.toLowerCase());
  return (event) => {
    if (event.duration <= slowerThan) return false;
    const { call, request, feature, register, state, errno } = event;
    const text = [call, request, feature, register, state, errno].join(" ").toLowerCase();
    return wanted.length === 0 || wanted.some((word) => text.includes(word));
  };
}

async function writePerfetto(from: string, to: string, force: boolean): Promise<void> {
  using trace = readTrace(from);
  await using file = await createCheckpointFile(to, { force, mode: 0o666 });
  await write(file, perfettoJson(trace));
  await file.commit();
}

/** Writes pieces of text, many at a time. */
async function write(file: CheckpointFile, pieces: Iterable<string>): Promise<void> {
  const encoder = new TextEncoder();
  let waiting = "";
  for (const piece of pieces) {
    waiting += piece;
    if (waiting.length < 1 << 16) continue;
    await file.write(encoder.encode(waiting));
    waiting = "";
  }
  await file.write(encoder.encode(waiting));
}
