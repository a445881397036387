/**
 * What a trace shows over time: states, data, pending bytes, slow calls.
 *
 * @module
 */

import type { TraceEvent } from "../event.ts";
import type { ReadTrace } from "../file/read_trace.ts";
import { asksForState, DeviceStates } from "./device_states.ts";

/** A stretch of time that a device spent in a state. All times are microseconds. */
export interface StateSpan {
  /** The state, as `vfiokit state` names it. */
  readonly state: string;
  /** When it was entered, since the trace began. */
  readonly begun: number;
  /** When the last call was made in it that shows it. */
  readonly ended: number;
  /** When the step to the next state was asked for; null if there is none. */
  readonly left: number | null;
  /** When the first data had been moved in it; null if none was. */
  readonly firstData: number | null;
  /** Bytes that were moved in it. */
  readonly bytes: number;
}

/** How much a driver said was pending. */
export interface PendingPoint {
  /** When, in microseconds since the trace began. */
  readonly time: number;
  /** How many bytes. */
  readonly pending: number;
  /** Bytes that were moved until then. */
  readonly bytes: number;
}

/** All calls of one kind. Times are in microseconds. */
export interface CallTimes {
  /** The request, feature, register or call. */
  readonly name: string;
  /** How many there were. */
  readonly count: number;
  /** How many failed. */
  readonly failed: number;
  /** The sum of their durations. */
  readonly total: number;
  /** The longest one. */
  readonly longest: number;
  /** How many took less than 1, 2, 4, … microseconds, each without those before; the last has the rest. */
  readonly histogram: readonly number[];
}

/** What one device did. */
export interface DeviceTimeline {
  /** The thread of the trace. */
  readonly thread: number;
  /** The device's name, as the user gave it. */
  readonly device: string;
  /** The states, in order. */
  readonly states: readonly StateSpan[];
  /** What was pending, each time that the driver was asked; evenly thinned out if there is a lot. */
  readonly pending: readonly PendingPoint[];
  /** The calls by kind, the most costly first. */
  readonly calls: readonly CallTimes[];
  /** The slowest calls, the slowest first. */
  readonly slowest: readonly TraceEvent[];
}

/** The most states, kinds of calls and slow calls that are kept of a device. */
const MAX_STATES = 2000;
const MAX_KINDS = 256;
const MAX_SLOWEST = 20;
/** Pending points are thinned out to half when there are twice as many. */
const MAX_PENDING = 512;
/** Up to 2^26 microseconds, a minute. */
const BUCKETS = 28;

/**
 * Reads a trace to its end, and says what each of its devices did. Its memory does not grow with
 * the trace.
 *
 * @throws {TraceError} If a line of the trace is wrong, or its end is missing.
 *
 * @example
 * ```ts
 * import { openDevice } from "vfiokit";
 * import { readTrace, timelineOf, Trace } from "vfiokit/trace";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const path = `${fs.mkdtempSync("/tmp/trace-")}/trace.jsonl`;
 * {
 *   using trace = Trace.create(path);
 *   await using device = await openDevice("sim:mlx5", { trace });
 *   await device.setState("stop");
 * }
 * using trace = readTrace(path);
 * const [device] = timelineOf(trace);
 * const states = device!.states.map(({ state }) => state);
 * assert.deepEqual(states, ["running", "running-p2p", "stop"]);
 * ```
 */
export function timelineOf(trace: ReadTrace): DeviceTimeline[] {
  const devices = new Map<number, TimelineBuilder>();
  for (const line of trace.lines()) {
    if (line.type === "thread") {
      devices.set(line.thread, new TimelineBuilder(line.thread, line.device));
    } else if (line.type === "call") devices.get(line.thread)!.event(line);
  }
  return [...devices.values()].map((device) => device.build());
}

/** A state that is not over. */
interface OpenSpan {
  readonly state: string;
  readonly begun: number;
  ended: number;
  left: number | null;
  firstData: number | null;
  bytes: number;
}

class TimelineBuilder {
  readonly #thread: number;
  readonly #device: string;
  readonly #states = new DeviceStates();
  readonly #spans: OpenSpan[] = [];
  #pending: PendingPoint[] = [];
  /** One of so many points is kept. */
  #every = 1;
  #told = 0;
  #bytes = 0;
  /** When a state was asked for last. */
  #asked: number | null = null;
  readonly #calls = new Map<string, { -readonly [Key in keyof CallTimes]: CallTimes[Key] }>();
  readonly #slowest: TraceEvent[] = [];

  constructor(thread: number, device: string) {
    this.#thread = thread;
    this.#device = device;
  }

  event(event: TraceEvent): void {
    const ended = event.time + event.duration;
    if (event.state !== undefined && asksForState(event)) this.#asked = event.time;
    if (this.#states.event(event)) this.#enter(this.#states.state!, ended);
    const span = this.#spans.at(-1);
    if (span !== undefined) span.ended = ended;
    const moved = dataOf(event);
    if (moved > 0 && span !== undefined) {
      span.firstData ??= ended;
      span.bytes += moved;
      this.#bytes += moved;
    }
    const pending = pendingOf(event);
    if (pending !== null) this.#tell({ time: ended, pending, bytes: this.#bytes });
    this.#count(event);
    this.#rank(event);
  }

  #enter(state: string, time: number): void {
    const last = this.#spans.at(-1);
    if (last !== undefined) last.left = this.#asked ?? time;
    this.#asked = null;
    if (this.#spans.length === MAX_STATES) this.#spans.shift();
    this.#spans.push({ state, begun: time, ended: time, left: null, firstData: null, bytes: 0 });
  }

  #tell(point: PendingPoint): void {
    if (this.#told++ % this.#every !== 0) return;
    this.#pending.push(point);
    if (this.#pending.length < 2 * MAX_PENDING) return;
    this.#pending = this.#pending.filter((_, index) => index % 2 === 0);
    this.#every *= 2;
  }

  #count(event: TraceEvent): void {
    const { duration } = event;
    const name = nameOf(event);
    let times = this.#calls.get(name);
    if (times === undefined) {
      if (this.#calls.size === MAX_KINDS) return;
      times = {
        name,
        count: 0,
        failed: 0,
        total: 0,
        longest: 0,
        histogram: Array(BUCKETS).fill(0),
      };
      this.#calls.set(name, times);
    }
    times.count++;
    if (event.result === undefined && event.errno !== undefined) times.failed++;
    times.total += duration;
    times.longest = Math.max(times.longest, duration);
    const bucket = duration < 1 ? 0 : Math.min(BUCKETS - 1, 1 + Math.floor(Math.log2(duration)));
    (times.histogram as number[])[bucket]! += 1;
  }

  #rank(event: TraceEvent): void {
    const slowest = this.#slowest;
    if (slowest.length === MAX_SLOWEST && event.duration <= slowest.at(-1)!.duration) return;
    const at = slowest.findIndex(({ duration }) => duration < event.duration);
    const { raw: _, data, ...rest } = event;
    const kept = data === undefined
      ? rest
      : { ...rest, data: { length: data.length, crc32: data.crc32 } };
    slowest.splice(at < 0 ? slowest.length : at, 0, kept);
    if (slowest.length > MAX_SLOWEST) slowest.pop();
  }

  build(): DeviceTimeline {
    return {
      thread: this.#thread,
      device: this.#device,
      states: this.#spans,
      pending: this.#pending,
      calls: [...this.#calls.values()].sort((a, b) => b.total - a.total),
      slowest: this.#slowest,
    };
  }
}

function nameOf({ call, request, feature, register }: TraceEvent): string {
  if (feature !== undefined) return `${request} ${feature}`;
  return request ?? (register === undefined ? call : `${call} ${register}`);
}

/** Bytes of device state that a call moved. */
function dataOf({ call, file, register, data }: TraceEvent): number {
  if (data === undefined) return 0;
  const moves = register === "data" || call === "mappingRead" || call === "mappingWrite" ||
    file === "data fd" || file === "received fd";
  return moves ? data.length : 0;
}

/** What a driver said was pending; fields that an answer left as they were are not in it. */
export function pendingOf({ answer, request, result }: TraceEvent): number | null {
  const register = answer?.["pending_bytes"];
  if (typeof register === "number") return register;
  if (request !== "VFIO_MIG_GET_PRECOPY_INFO" || result === undefined) return null;
  const { initial_bytes: initial = 0, dirty_bytes: dirty = 0 } = answer ?? {};
  return typeof initial === "number" && typeof dirty === "number" ? initial + dirty : null;
}
