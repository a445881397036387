/**
 * How long a device stood still, and where that time went.
 *
 * @module
 */

import type { StateName } from "./states.ts";

/** A change of state. All times are milliseconds since 1970, with microseconds behind the point. */
export interface StateChange {
  /** The state before. */
  readonly from: StateName;
  /** The state after. */
  readonly to: StateName;
  /** When `from` was read last: the step was asked for right after it. */
  readonly begun: number;
  /** When `to` was read. */
  readonly ended: number;
  /** When the first data was moved in `from`; null if none was. */
  readonly firstData: number | null;
}

/** A stretch of the time that a device stands still. */
export interface DowntimePart {
  /**
   * What it was spent on: an `arc` to another state; the wait for the `first-byte`; `data`, from
   * the first byte until the device had no more, or took no more; the `commit`, with all data read
   * or written and the device stopped; or a `wait` in a state that has no data.
   */
  readonly kind: "arc" | "first-byte" | "data" | "commit" | "wait";
  /** The state before an arc, else the state that the device is in. */
  readonly state: StateName;
  /** The state after an arc; null for all else. */
  readonly to: StateName | null;
  /** How long it took. */
  readonly seconds: number;
}

/** How long a device stood still. */
export interface DowntimeReport {
  /**
   * From the step that stopped the device until it ran again; null if it does not run, by intent or
   * not.
   */
  readonly seconds: number | null;
  /** The stretches of that time, in order; nothing is left out, and none overlaps another. */
  readonly parts: readonly DowntimePart[];
}

/** A report, and when it began and ended, in milliseconds since 1970. */
export interface Standstill extends DowntimeReport {
  /** When the step began that stopped the device. */
  readonly begun: number;
  /** When it ran again; null if it does not. */
  readonly ended: number | null;
}

/** The states in which a device works: in the P2P ones it begins no DMA to other devices. */
const RUNNING: readonly StateName[] = ["running", "running-p2p", "pre-copy", "pre-copy-p2p"];

/** The last standstill among changes of a state; null if the device never stopped. */
export function standstill(changes: readonly StateChange[]): Standstill | null {
  const runs = (state: StateName): boolean => RUNNING.includes(state);
  const first = changes.findLastIndex(({ from, to }) => runs(from) && !runs(to));
  if (first < 0) return null;
  const parts: DowntimePart[] = [];
  const { begun } = changes[first]!;
  let end = begun;
  let moved = false;
  for (const change of changes.slice(first)) {
    if (change !== changes[first]) {
      parts.push(...between(end, change, moved));
      moved ||= change.firstData !== null;
    }
    const seconds = (change.ended - change.begun) / 1000;
    parts.push({ kind: "arc", state: change.from, to: change.to, seconds });
    end = change.ended;
    if (runs(change.to)) return { seconds: (end - begun) / 1000, parts, begun, ended: end };
  }
  return { seconds: null, parts, begun, ended: null };
}

/** What happened in the state that a change leaves, since the last change ended. */
function between(ended: number, change: StateChange, moved: boolean): DowntimePart[] {
  const { from: state, begun, firstData } = change;
  const part = (kind: DowntimePart["kind"], from: number, to: number): DowntimePart => ({
    kind,
    state,
    to: null,
    seconds: Math.max(0, to - from) / 1000,
  });
  if (firstData === null) {
    // Between two steps that were taken at once there is nothing.
    return begun > ended ? [part(moved ? "commit" : "wait", ended, begun)] : [];
  }
  return [part("first-byte", ended, firstData), part("data", firstData, begun)];
}

/** The standstill of several devices together: from the first that stopped to the last that runs. */
export function jointStandstill(standstills: readonly (Standstill | null)[]): number | null {
  const all = standstills.filter((each) => each !== null);
  if (all.length === 0) return null;
  const ends = all.map(({ ended }) => ended);
  if (ends.includes(null)) return null;
  const begun = Math.min(...all.map((each) => each.begun));
  return (Math.max(...ends as number[]) - begun) / 1000;
}
