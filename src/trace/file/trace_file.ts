/**
 * A trace in a file: it is begun and ended on one thread, and each thread appends to it.
 *
 * @module
 */

import { cleanlyThen } from "../../base/cleanup.ts";
import * as fs from "node:fs";
import { clearInterval, setInterval } from "node:timers";
import { ERRNO, errnoOf } from "../../kernel/errno_names.ts";
import { writeAllSync } from "../../kernel/process/write_all.ts";
import { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { libcAllowed, libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { VERSION } from "../../base/version.ts";
import type { AccessLine, BegunCall, TraceEvent, TraceSink } from "../event.ts";
import { CallsUnderWay, UNDER_WAY_BYTES } from "./_calls_under_way.ts";
import { TraceFileError } from "./trace_file_error.ts";
import { TraceKernel } from "../trace_kernel.ts";

/** The name and version of the format; docs/trace.md describes it. */
export const TRACE_SCHEMA = "vfiokit/trace/1";

/** The first line of a trace. */
export interface TraceHeader {
  /** Always `header`. */
  readonly type: "header";
  /** `vfiokit/trace/` and the version of the format. */
  readonly schema: string;
  /** The version of this toolkit. */
  readonly version: string;
  /** The release of the running kernel, such as `6.1.0-28-amd64`; null if it could not be read. */
  readonly kernel: string | null;
  /** The names of the devices, as the user gave them. */
  readonly devices: readonly string[];
  /** When the trace began, in milliseconds since 1970. */
  readonly started: number;
  /** Whether events have the data itself. */
  readonly data: boolean;
}

/** The line that a thread writes before its first call. */
export interface TraceThread {
  /** Always `thread`. */
  readonly type: "thread";
  /** Its number, from 1 on. */
  readonly thread: number;
  /** The name of the device that it opens, as the user gave it. */
  readonly device: string;
  /** The kernel's own name for it. */
  readonly name: string;
  /** The kernel that it calls: `linux` or `sim`. */
  readonly kernel: string;
}

/** The last line of a trace. */
export interface TraceEnd {
  /** Always `end`. */
  readonly type: "end";
  /** Microseconds since the trace began. */
  readonly time: number;
  /** How many calls were traced, on all threads. */
  readonly calls: number;
}

/** A trace as other threads need it: plain data and shared memory. */
export interface SharedTrace {
  /** The file. */
  readonly path: string;
  /** When it began, in milliseconds since 1970. */
  readonly started: number;
  /** Whether events have the data itself. */
  readonly data: boolean;
  /** What the threads share: how many there are, the calls, the errno that ended the trace. */
  readonly memory: SharedArrayBuffer;
}

/** How to begin a trace. */
export interface TraceOptions {
  /** The names of the devices, for the header. */
  readonly devices?: readonly string[] | undefined;
  /** Whether events have the data itself, and not only its length and CRC-32. Default: false. */
  readonly data?: boolean | undefined;
}

/** Lines are kept back up to so many characters … */
const MAX_WAITING = 64 * 1024;
/** … and for so many microseconds, if only data is moved meanwhile. */
const MAX_WAIT_MICROS = 20_000;
/** How often a trace looks for calls that take long, in milliseconds. */
const LOOK_MS = 250;
/** Bytes in front of the calls under way. */
const COUNTS = 16;

/** What {@linkcode SharedTrace.memory} holds. */
class Shared {
  readonly #numbers: Int32Array;
  readonly #calls: BigInt64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#numbers = new Int32Array(memory, 0, 2);
    this.#calls = new BigInt64Array(memory, 8, 1);
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(COUNTS + UNDER_WAY_BYTES);
  }

  /** The calls that threads are in. */
  underWay(): CallsUnderWay {
    return new CallsUnderWay(this.#numbers.buffer as SharedArrayBuffer, COUNTS);
  }

  /** How many threads there are. */
  get threads(): number {
    return Atomics.load(this.#numbers, 0);
  }

  /** A number for one more thread, from 1 on. */
  nextThread(): number {
    return Atomics.add(this.#numbers, 0, 1) + 1;
  }

  /** Counts calls that were written. */
  count(calls: number): void {
    Atomics.add(this.#calls, 0, BigInt(calls));
  }

  get calls(): number {
    return Number(Atomics.load(this.#calls, 0));
  }

  /** The errno that ended the trace; 0 if none did. The first one stays. */
  get errno(): number {
    return Atomics.load(this.#numbers, 1);
  }

  set errno(value: number) {
    Atomics.compareExchange(this.#numbers, 1, 0, value);
  }
}

/**
 * A trace in a file, in JSON Lines: every call to the kernel that the devices opened with it make.
 * It can be given to `openDevice`, `probe` and others as the option `trace`.
 *
 * Each thread appends whole lines, which are in order for each thread. If the file takes no more
 * (a full disk), the trace ends there and the work goes on; {@linkcode Trace.failure} tells.
 *
 * @example
 * ```ts
 * import { openDevice } from "vfiokit";
 * import { Trace } from "vfiokit/trace";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const path = `${fs.mkdtempSync("/tmp/trace-")}/trace.jsonl`;
 * {
 *   using trace = Trace.create(path, { devices: ["sim:mlx5"] });
 *   await using device = await openDevice("sim:mlx5", { trace });
 *   await device.state();
 * }
 * const lines = fs.readFileSync(path, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
 * assert.equal(lines[0].schema, "vfiokit/trace/1");
 * assert.equal(lines.at(-1).type, "end");
 * ```
 */
export class Trace implements SharedTrace, Disposable {
  /** The file. */
  readonly path: string;
  /** When it began, in milliseconds since 1970. */
  readonly started: number;
  /** Whether events have the data itself. */
  readonly data: boolean;
  /** What the threads share. */
  readonly memory: SharedArrayBuffer = Shared.memory();
  readonly #shared: Shared = new Shared(this.memory);
  readonly #fd: number;
  readonly #writers: TraceWriter[] = [];
  readonly #underWay: CallsUnderWay = this.#shared.underWay();
  /** The call that each thread was in when it was looked at last, and whether it was written. */
  readonly #seen = new Map<number, { turn: number; written: boolean }>();
  readonly #looking: NodeJS.Timeout;
  #closed = false;

  private constructor(path: string, fd: number, started: number, data: boolean) {
    this.path = path;
    this.started = started;
    this.data = data;
    this.#fd = fd;
    this.#looking = setInterval(() => this.#look(false), LOOK_MS);
    this.#looking.unref();
  }

  /** Writes the calls that were under way when this was done before; at the end, all. */
  #look(end: boolean): void {
    for (let thread = 1; thread <= this.#shared.threads; thread += 1) {
      const call = this.#underWay.of(thread);
      if (call === null) continue;
      const { turn, line } = call;
      const seen = this.#seen.get(thread);
      const again = seen?.turn === turn;
      if (again && seen.written) continue;
      const write = again || end;
      this.#seen.set(thread, { turn, written: write });
      if (write && this.#shared.errno === 0) append(this.#fd, this.#shared, `${line}\n`);
    }
  }

  /**
   * Creates the file, and writes its first line. A trace that is there already is replaced.
   *
   * @throws {TraceFileError} If the file cannot be created or written, or if there is one already
   * that is no trace.
   */
  static create(path: string, options: TraceOptions = {}): Trace {
    const { devices = [], data = false } = options;
    const started = performance.timeOrigin + performance.now();
    let fd: number;
    try {
      refuseOther(path);
      // A device's state may be in it: it is its owner's alone.
      fd = fs.openSync(path, "a", 0o600);
    } catch (error) {
      throw TraceFileError.of("Cannot create the trace", path, error);
    }
    try {
      if (fs.fstatSync(fd).isFile()) fs.ftruncateSync(fd);
      const header: TraceHeader = {
        type: "header",
        schema: TRACE_SCHEMA,
        version: VERSION,
        kernel: release(),
        devices,
        started,
        data,
      };
      writeAllSync(fd, new TextEncoder().encode(`${JSON.stringify(header)}\n`));
    } catch (error) {
      fs.closeSync(fd);
      throw TraceFileError.of("Cannot write the trace", path, error);
    }
    return new Trace(path, fd, started, data);
  }

  /**
   * Why the trace ended before the work did: the file took no more. Null if it did not, so far.
   */
  get failure(): TraceFileError | null {
    const { errno } = this.#shared;
    return errno === 0
      ? null
      : TraceFileError.of("Cannot go on with the trace", this.path, new SysError("write", errno));
  }

  /** Traces a kernel on this thread; `name` is the kernel's own name for the device. */
  kernel(kernel: Kernel, device: string, name: string = device): TraceKernel {
    const writer = new TraceWriter(this, this.#fd, { device, name, kernel: kernel.name });
    this.#writers.push(writer);
    return writer.trace(kernel);
  }

  /** Writes the last line, and closes the file. Closing again does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#looking);
    for (const writer of this.#writers) writer.flush();
    this.#look(true);
    const time = Math.round((performance.timeOrigin + performance.now() - this.started) * 1000);
    const end: TraceEnd = { type: "end", time, calls: this.#shared.calls };
    if (this.#shared.errno === 0) append(this.#fd, this.#shared, `${JSON.stringify(end)}\n`);
    fs.closeSync(this.#fd);
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Traces a kernel that is called on this thread to a trace that may have been begun on another.
 * {@linkcode TraceKernel.end} writes what was kept back.
 */
export function traceTo(
  trace: SharedTrace,
  kernel: Kernel,
  device: string,
  name: string,
): TraceKernel {
  if (trace instanceof Trace) return trace.kernel(kernel, device, name);
  let fd: number | null = null;
  try {
    fd = fs.openSync(trace.path, "a");
  } catch (error) {
    new Shared(trace.memory).errno = ERRNO[errnoOf(error) ?? "EIO"];
  }
  return new TraceWriter(trace, fd, { device, name, kernel: kernel.name }, fd).trace(kernel);
}

/** Appends the events of one thread to the file. */
class TraceWriter implements TraceSink {
  readonly #trace: SharedTrace;
  readonly #shared: Shared;
  readonly #thread: number;
  #fd: number | null;
  readonly #owned: number | null;
  readonly #underWay: CallsUnderWay;
  /** Lines that are kept back, and how many of them are calls. */
  #waiting = "";
  #calls = 0;
  /** The time of the call that was written last. */
  #written = 0;

  /** Writes to `fd`; `owned` is closed at the end. */
  constructor(
    trace: SharedTrace,
    fd: number | null,
    about: Pick<TraceThread, "device" | "name" | "kernel">,
    owned: number | null = null,
  ) {
    this.#trace = trace;
    this.#shared = new Shared(trace.memory);
    this.#thread = this.#shared.nextThread();
    this.#underWay = this.#shared.underWay();
    this.#fd = fd;
    this.#owned = owned;
    const line: TraceThread = { type: "thread", thread: this.#thread, ...about };
    this.#waiting = `${JSON.stringify(line)}\n`;
    this.flush();
  }

  /** The kernel whose calls come here. */
  trace(kernel: Kernel): TraceKernel {
    const { started, data } = this.#trace;
    return new TraceKernel(kernel, this, { thread: this.#thread, started, data });
  }

  begin({ type: _, thread: __, n, time, ...rest }: BegunCall): void {
    const text = new TextEncoder().encode(JSON.stringify(rest).slice(1, -1));
    this.#underWay.enter(this.#thread, n, time, text);
  }

  beginAccess({ begun }: AccessLine, n: number, time: number): void {
    this.#underWay.enter(this.#thread, n, time, begun);
  }

  event(event: TraceEvent): void {
    this.#take(`${JSON.stringify(event)}\n`, event.time, movesData(event));
  }

  access(
    { movesData }: AccessLine,
    n: number,
    time: number,
    duration: number,
    fields: string,
  ): void {
    const times = `"n":${n},"time":${time},"duration":${duration}`;
    const line = `{"type":"call","thread":${this.#thread},${times},${fields}}\n`;
    this.#take(line, time, movesData);
  }

  #take(line: string, time: number, movesData: boolean): void {
    this.#underWay.leave(this.#thread);
    if (this.#fd === null || this.#shared.errno !== 0) return;
    this.#waiting += line;
    this.#calls += 1;
    const wait = movesData && this.#waiting.length < MAX_WAITING &&
      time - this.#written < MAX_WAIT_MICROS;
    if (wait) return;
    this.flush();
    this.#written = time;
  }

  flush(): void {
    const lines = this.#waiting;
    this.#waiting = "";
    if (lines === "" || this.#fd === null || this.#shared.errno !== 0) return;
    append(this.#fd, this.#shared, lines);
    this.#shared.count(this.#calls);
    this.#calls = 0;
  }

  end(): void {
    this.flush();
    this.#fd = null;
    if (this.#owned !== null) fs.closeSync(this.#owned);
  }
}

/** Whether a call is one of many that move data: the others are few, and written at once. */
function movesData({ call, register, request }: TraceEvent): boolean {
  return register === "data" || (register !== undefined && register !== "device_state") ||
    (request === undefined && (call === "read" || call === "write" || call === "mappingRead" ||
      call === "mappingWrite" || call === "poll"));
}

/** Appends lines; if the file does not take them, the trace ends for all threads. */
function append(fd: number, shared: Shared, lines: string): void {
  try {
    writeAllSync(fd, new TextEncoder().encode(lines));
  } catch (error) {
    shared.errno = ERRNO[errnoOf(error) ?? "EIO"];
  }
}

/** Refuses a file that has something else in it: a checkpoint's name may have been given instead. */
function refuseOther(path: string): void {
  let fd: number;
  try {
    fd = fs.openSync(path, "r");
  } catch (error) {
    if ((error as { readonly code?: unknown }).code === "ENOENT") return;
    throw error;
  }
  cleanlyThen(() => {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile() || stat.size === 0) return;
    const start = `{"type":"header","schema":"vfiokit/trace/`;
    const bytes = new Uint8Array(start.length);
    const length = fs.readSync(fd, bytes, 0, bytes.length, 0);
    if (new TextDecoder().decode(bytes.subarray(0, length)) !== start) {
      throw new SysError("open", ERRNO.EEXIST, path);
    }
  }, () => fs.closeSync(fd));
}

/** The running kernel's release. */
function release(): string | null {
  if (!libcAllowed()) return null;
  try {
    return libcKernel().readText("/proc/sys/kernel/osrelease").trim();
  } catch {
    return null;
  }
}
