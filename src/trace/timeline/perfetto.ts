/**
 * A trace as Perfetto and chrome://tracing open it.
 *
 * @module
 */

import { DeviceStates } from "./device_states.ts";
import type { TraceEvent } from "../event.ts";
import type { ReadTrace } from "../file/read_trace.ts";
import { pendingOf } from "./trace_timeline.ts";
import type { TraceThread } from "../file/trace_file.ts";

/**
 * A trace as trace-event JSON, in pieces: a track of calls and one of states for each device, and a
 * counter of the bytes that are pending.
 *
 * @throws {TraceError} If a line of the trace is wrong, or its end is missing.
 *
 * @example
 * ```ts
 * import { openDevice } from "vfiokit";
 * import { perfettoJson, readTrace, Trace } from "vfiokit/trace";
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
 * const { traceEvents } = JSON.parse([...perfettoJson(trace)].join(""));
 * const names = traceEvents.map((event: { name: string }) => event.name);
 * assert.ok(names.includes("VFIO_DEVICE_FEATURE MIG_DEVICE_STATE"));
 * ```
 */
export function* perfettoJson(trace: ReadTrace): Generator<string, void, undefined> {
  const devices = new Map<number, Device>();
  yield `{"displayTimeUnit":"ns","traceEvents":[`;
  let separator = "\n";
  const piece = (parts: readonly object[]): string => {
    const text = parts.map((part) => {
      const one = separator + JSON.stringify(part);
      separator = ",\n";
      return one;
    });
    return text.join("");
  };
  for (const line of trace.lines()) {
    if (line.type === "thread") {
      devices.set(line.thread, new Device(line.thread));
      yield piece(names(line));
      continue;
    }
    if (line.type === "begun") continue;
    const parts = devices.get(line.thread)!.event(line);
    yield piece(parts);
  }
  for (const device of devices.values()) yield piece(device.end());
  yield "\n]}\n";
}

/** The process that everything is in: the tracks of one trace lie together. */
const PID = 1;

function tracks(thread: number): { readonly calls: number; readonly states: number } {
  return { calls: 2 * thread, states: 2 * thread + 1 };
}

function names({ thread, device }: TraceThread): object[] {
  const { calls, states } = tracks(thread);
  const name = (tid: number, text: string): object => ({
    name: "thread_name",
    ph: "M",
    pid: PID,
    tid,
    args: { name: text },
  });
  return [name(calls, `${device}: calls`), name(states, `${device}: state`)];
}

/** What is kept of a device between its calls. */
class Device {
  readonly #thread: number;
  readonly #states = new DeviceStates();
  #since = 0;
  #last = 0;

  constructor(thread: number) {
    this.#thread = thread;
  }

  event(event: TraceEvent): object[] {
    const { calls } = tracks(this.#thread);
    const { time, duration, call, request, feature, register, args, answer, errno, data } = event;
    const name = [request ?? call, feature ?? register].filter((word) => word !== undefined);
    const before = this.#states.state;
    const changed = this.#states.event(event);
    this.#last = time + duration;
    const parts: object[] = [{
      name: name.join(" "),
      cat: call,
      ph: "X",
      ts: time,
      dur: duration,
      pid: PID,
      tid: calls,
      args: { ...args, answer, result: event.result, errno, data },
    }];
    if (changed) {
      parts.push(...this.#slice(before, this.#last));
      this.#since = this.#last;
    }
    const pending = pendingOf(event);
    if (pending !== null) {
      const label = `pending bytes of device ${this.#thread}`;
      parts.push({ name: label, ph: "C", ts: this.#last, pid: PID, args: { bytes: pending } });
    }
    return parts;
  }

  end(): object[] {
    return this.#slice(this.#states.state, this.#last);
  }

  #slice(state: string | null, until: number): object[] {
    if (state === null) return [];
    const { states } = tracks(this.#thread);
    const dur = until - this.#since;
    return [{ name: state, cat: "state", ph: "X", ts: this.#since, dur, pid: PID, tid: states }];
  }
}
