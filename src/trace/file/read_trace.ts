/**
 * Reading a trace, line by line.
 *
 * @module
 */

import * as fs from "node:fs";
import type { BegunCall, TraceEvent } from "../event.ts";
import { LineFault, MAX_THREADS, parseHeader, parseLine, type TraceLine } from "./trace_lines.ts";
import { TraceError, type TraceErrorCode } from "./trace_error.ts";
import type { TraceHeader, TraceThread } from "./trace_file.ts";
import { TraceFileError } from "./trace_file_error.ts";

/** The longest line of a trace, in bytes: a call with 2 MiB of data. */
const MAX_LINE = 3 << 20;
/** How much is read at a time. */
const CHUNK = 1 << 20;

/** A trace that is being read. */
export interface ReadTrace extends Disposable {
  /** Its first line. */
  readonly header: TraceHeader;
  /** The number of the line that was read last, from 1 on. */
  readonly line: number;
  /**
   * Its calls, and the threads that make them, in the order of the file. A thread comes before its
   * calls; the calls of one thread are in their order. A call that took long has a line when it
   * had begun, too; if it has no other, it did not return.
   *
   * @throws {TraceError} If a line is wrong, or the end is missing; what comes before it was good.
   */
  lines(): Generator<TraceThread | TraceEvent | BegunCall, void, undefined>;
}

/**
 * Opens a trace. Nothing in it is believed: each line is bounded and checked before it is given
 * out, and only as much as one line is kept in memory.
 *
 * @throws {TraceError} If it is no trace, or of another version.
 * @throws {TraceFileError} If the file cannot be opened or read.
 *
 * @example
 * ```ts
 * import { openDevice } from "vfiokit";
 * import { readTrace, Trace } from "vfiokit/trace";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const path = `${fs.mkdtempSync("/tmp/trace-")}/trace.jsonl`;
 * {
 *   using trace = Trace.create(path);
 *   await using device = await openDevice("sim:mlx5", { trace });
 *   await device.state();
 * }
 * using trace = readTrace(path);
 * const states = [...trace.lines()].filter((line) => line.type === "call" && line.state);
 * assert.equal(states.length, 1);
 * ```
 */
export function readTrace(path: string): ReadTrace {
  let fd: number;
  try {
    fd = fs.openSync(path, "r");
  } catch (error) {
    throw TraceFileError.of("Cannot open the trace", path, error);
  }
  const reader = new TraceReader(path, fd);
  try {
    return reader.begin();
  } catch (error) {
    reader[Symbol.dispose]();
    throw error;
  }
}

class TraceReader implements ReadTrace {
  readonly #path: string;
  #fd: number | null;
  readonly #texts: Generator<string, void, undefined>;
  /** The number of the line that was read last. */
  #line = 0;
  #header: TraceHeader | null = null;

  constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
    this.#texts = this.#split();
  }

  begin(): this {
    const first = this.#texts.next();
    this.#line = 1;
    if (first.done) this.#fail("not-a-trace", "the file is empty");
    const header = parseHeader(first.value as string);
    if (header instanceof LineFault) this.#fail(header.code, header.what);
    this.#header = header;
    return this;
  }

  get line(): number {
    return this.#line;
  }

  get header(): TraceHeader {
    return this.#header!;
  }

  *lines(): Generator<TraceThread | TraceEvent | BegunCall, void, undefined> {
    /** The number of the last call of each thread. */
    const last = new Map<number, number>();
    let calls = 0;
    for (const text of this.#texts) {
      this.#line++;
      const line: TraceLine = this.#parsed(text);
      if (line.type === "call") {
        const before = last.get(line.thread);
        if (before === undefined) this.#fail("order", `thread ${line.thread} has not begun`);
        if (line.n !== before + 1) {
          const seen = `call ${line.n} of thread ${line.thread}`;
          this.#fail("order", `${seen} stands behind call ${before}`);
        }
        last.set(line.thread, line.n);
        calls++;
        yield line;
      } else if (line.type === "begun") {
        if (!last.has(line.thread)) this.#fail("order", `thread ${line.thread} has not begun`);
        yield line;
      } else if (line.type === "thread") {
        if (last.has(line.thread)) this.#fail("order", `thread ${line.thread} begins twice`);
        if (last.size === MAX_THREADS) this.#fail("line", "there are too many threads");
        last.set(line.thread, 0);
        yield line;
      } else {
        if (line.calls !== calls) {
          this.#fail("order", `${calls} calls were read, and the end names ${line.calls}`);
        }
        if (!this.#texts.next().done) {
          this.#line++;
          this.#fail("order", "there is something behind the end");
        }
        return;
      }
    }
    this.#line++;
    this.#fail("cut", "the trace ends here, without its last line");
  }

  #parsed(text: string): TraceLine {
    const line = parseLine(text);
    if (line instanceof LineFault) this.#fail(line.code, line.what);
    return line;
  }

  #fail(code: TraceErrorCode, what: string): never {
    throw new TraceError(code, this.#path, this.#line, what);
  }

  /** The lines of the file. */
  *#split(): Generator<string, void, undefined> {
    const decoder = new TextDecoder();
    let rest = new Uint8Array(0);
    const chunk = new Uint8Array(CHUNK);
    for (;;) {
      const length = this.#read(chunk);
      if (length === 0) break;
      const bytes = new Uint8Array(rest.length + length);
      bytes.set(rest);
      bytes.set(chunk.subarray(0, length), rest.length);
      let start = 0;
      for (;;) {
        const end = bytes.indexOf(0x0a, Math.max(start, rest.length * Number(start === 0)));
        if (end < 0) break;
        yield decoder.decode(bytes.subarray(start, end));
        start = end + 1;
      }
      rest = bytes.slice(start);
      if (rest.length > MAX_LINE) {
        this.#line++;
        this.#fail("length", `it has more than ${MAX_LINE} bytes`);
      }
    }
    if (rest.length > 0) {
      this.#line++;
      const what = this.#header === null ? "the file is not a trace" : "the line is cut";
      this.#fail(this.#header === null ? "not-a-trace" : "cut", what);
    }
  }

  #read(into: Uint8Array): number {
    if (this.#fd === null) return 0;
    try {
      return fs.readSync(this.#fd, into, 0, into.length, null);
    } catch (error) {
      throw TraceFileError.of("Cannot read the trace", this.#path, error);
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== null) fs.closeSync(this.#fd);
    this.#fd = null;
  }
}
