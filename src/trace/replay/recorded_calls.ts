// The calls of one thread of a trace, one after the other, and where a replay leaves them.

import { cleanlyThen } from "../../base/cleanup.ts";
import { isDeepStrictEqual } from "node:util";
import type { TracedCall, TraceEvent, TraceSink } from "../event.ts";
import { type ReadTrace, readTrace } from "../file/read_trace.ts";
import { TraceError } from "../file/trace_error.ts";
import type { TraceThread } from "../file/trace_file.ts";
import { formatCall } from "../format_call.ts";
import { ReplayError, type ReplayErrorCode } from "./replay_error.ts";

/** What must be the same in a call that is replayed. */
const ASKED = ["call", "fd", "request", "feature", "register", "args"] as const;

/** The calls whose data goes into the kernel. */
const WRITES: readonly TracedCall[] = ["write", "pwrite", "mappingWrite"];

/** What cleans up, after the replay's end too: there is nothing that could fail. */
const CLEANUP: readonly TracedCall[] = ["close", "munmap"];

/** Gives the recorded calls out in their order, and holds the calls that are made against them. */
export class RecordedCalls implements TraceSink {
  readonly #path: string;
  readonly #trace: ReadTrace;
  readonly #events: Generator<TraceEvent, void, undefined>;
  /** The thread that is replayed. */
  readonly thread: TraceThread;
  #now: TraceEvent | null = null;
  #calls = 0;
  #failure: ReplayError | TraceError | null = null;

  /** Opens a trace at one of its threads, by default its first one. */
  constructor(path: string, thread: number | null) {
    this.#path = path;
    this.#trace = readTrace(path);
    const lines = this.#trace.lines();
    try {
      this.thread = begin(lines, path, thread);
    } catch (error) {
      this.#trace[Symbol.dispose]();
      throw error;
    }
    const number = this.thread.thread;
    this.#events = (function* (): Generator<TraceEvent, void, undefined> {
      for (const line of lines) if (line.type === "call" && line.thread === number) yield line;
    })();
  }

  /** What was recorded next; it must be this call. Null for cleaning up after the replay's end. */
  next(call: TracedCall): TraceEvent | null {
    if (this.#failure !== null) {
      if (CLEANUP.includes(call)) return null;
      throw this.#failure;
    }
    this.#calls++;
    this.#now = this.#read();
    // What is made instead is known in words once it is reported.
    if (this.#now?.call !== call) this.another();
    return this.#now;
  }

  /** The call that is made is not the recorded one: it has no answer. */
  another(): never {
    throw new NotRecorded();
  }

  #read(): TraceEvent | null {
    try {
      return this.#events.next().value ?? null;
    } catch (error) {
      if (error instanceof TraceError) this.#failure = error;
      throw error;
    }
  }

  /** An answer of the trace makes no sense for the call. */
  bad(what: string): never {
    this.#failure = new TraceError("line", this.#path, this.#trace.line, what);
    throw this.#failure;
  }

  /** A call that was made: it must be what was recorded. */
  event(made: TraceEvent): void {
    if (this.#failure !== null) {
      if (CLEANUP.includes(made.call)) return;
      throw this.#failure;
    }
    const recorded = this.#now;
    const same = recorded !== null &&
      ASKED.every((field) =>
        // How many bytes a read of a data fd has room for depends on how fast the device's thread
        // was: whatever holds the recorded answer is the same call.
        field === "args" && made.call === "read" || isDeepStrictEqual(made[field], recorded[field])
      ) &&
      made.raw?.before === recorded.raw?.before && sameData(made, recorded);
    if (!same) this.#leave(recorded === null ? "trace-ended" : "diverged", recorded, made);
  }

  /** No more calls will come: none must be left. */
  end(): void {
    cleanlyThen(() => {
      if (this.#failure !== null) return;
      this.#calls++;
      const left = this.#read();
      if (left !== null) this.#leave("calls-left", left, null);
    }, () => this.#trace[Symbol.dispose]());
  }

  #leave(code: ReplayErrorCode, recorded: TraceEvent | null, made: TraceEvent | null): never {
    this.#failure = new ReplayError({
      code,
      path: this.#path,
      thread: this.thread.thread,
      call: this.#calls,
      expected: recorded === null ? null : formatCall(recorded),
      actual: made === null ? null : withoutOutcome(made),
    });
    throw this.#failure;
  }
}

/** What was asked for: what came back is the recorded call's. */
function withoutOutcome({ type, thread, n, time, duration, call, ...event }: TraceEvent): string {
  const { fd, file, request, feature, register, args } = event;
  const asked = { fd, file, request, feature, register, args };
  const known = Object.fromEntries(
    Object.entries(asked).filter(([, value]) => value !== undefined),
  );
  return formatCall({ type, thread, n, time, duration, call, ...known });
}

/** A call that was not recorded there. */
class NotRecorded extends Error {}

function sameData(made: TraceEvent, recorded: TraceEvent): boolean {
  return !WRITES.includes(made.call) || made.data?.crc32 === recorded.data?.crc32;
}

function begin(
  lines: ReturnType<ReadTrace["lines"]>,
  path: string,
  wanted: number | null,
): TraceThread {
  let count = 1;
  for (;;) {
    const { done, value } = lines.next();
    count++;
    if (done) break;
    if (value.type === "thread" && (wanted === null || value.thread === wanted)) return value;
    if (value.type === "call" && wanted === null) break;
  }
  const which = wanted === null ? "no thread" : `no thread ${wanted}`;
  throw new TraceError("order", path, count, `it has ${which} to replay`);
}
