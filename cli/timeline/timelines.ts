/**
 * What `timeline` shows: out of a trace, or out of a checkpoint.
 *
 * @module
 */

import * as fs from "node:fs";
import { openCheckpointFile, verifyCheckpoint } from "../../mod.ts";
import {
  type DeviceTimeline,
  readTrace,
  timelineOf,
  type TraceHeader,
} from "../../src/trace/mod.ts";
import {
  type Standstill,
  standstill,
  type StateChange,
  type StateName,
} from "../../src/vfio/mod.ts";

import { type StoredTimes, storedTimes } from "../output/stored_times.ts";

/** A device of a trace, and when it stood still. */
export interface TracedDevice extends DeviceTimeline {
  /** How long it stood still, and where that time went; null if it did not. */
  readonly standstill: Standstill | null;
}

/** A phase of a checkpoint. */
export interface StoredPhase {
  /** The number of the device in the checkpoint. */
  readonly device: number;
  /** The phase. */
  readonly phase: string;
  /** Its transactions. */
  readonly transactions: number;
  /** Bytes of device state. */
  readonly bytes: number;
  /** How long it took. */
  readonly seconds: number;
}

/** What is known of a file over time. */
export type Timelines =
  | {
    readonly kind: "trace";
    readonly header: TraceHeader;
    readonly devices: readonly TracedDevice[];
  }
  | {
    readonly kind: "checkpoint";
    readonly created: string;
    readonly phases: readonly StoredPhase[];
    readonly devices: readonly StoredTimes[];
  };

/**
 * Reads a trace or a checkpoint.
 *
 * @throws {TraceError} If the trace is bad.
 * @throws {CheckpointError} If the file is a checkpoint that is bad, or neither of the two.
 */
export async function readTimelines(path: string, signal: AbortSignal): Promise<Timelines> {
  if (isTrace(path)) {
    using trace = readTrace(path);
    const devices = timelineOf(trace).map((device): TracedDevice => ({
      ...device,
      standstill: standstill(changesOf(device)),
    }));
    return { kind: "trace", header: trace.header, devices };
  }
  await using source = await openCheckpointFile(path);
  const { header, phases, times } = await verifyCheckpoint(source.stream(), { signal });
  const devices = storedTimes(times, header.devices.length);
  return { kind: "checkpoint", created: header.created, phases, devices };
}

/** A trace is text that begins with an object; a checkpoint begins with its magic. */
function isTrace(path: string): boolean {
  let fd: number;
  try {
    fd = fs.openSync(path, "r");
  } catch {
    return false;
  }
  try {
    if (!fs.fstatSync(fd).isFile()) return false;
    const first = new Uint8Array(1);
    return fs.readSync(fd, first, 0, 1, 0) === 1 && first[0] === "{".charCodeAt(0);
  } finally {
    fs.closeSync(fd);
  }
}

/** The changes of a state, in milliseconds since the trace began. */
function changesOf({ states }: DeviceTimeline): StateChange[] {
  return states.slice(0, -1).map(({ state, left, ended, firstData }, index) => {
    const next = states[index + 1]!;
    return {
      from: state as StateName,
      to: next.state as StateName,
      begun: Math.min(left ?? ended, next.begun) / 1000,
      ended: next.begun / 1000,
      firstData: firstData === null ? null : firstData / 1000,
    };
  });
}
