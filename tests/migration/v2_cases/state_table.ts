/**
 * The v2 state machine's table as linux/vfio.h draws it, asked of a device: from
 * each state to each other one. The simulator and real kernels answer alike.
 */

import assert from "node:assert/strict";
import { isErrno } from "../../../src/kernel/sys_error.ts";
import {
  VFIO_DEVICE_STATE_ERROR as ERROR,
  VFIO_DEVICE_STATE_PRE_COPY as PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P as PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_RUNNING as RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P as RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP as STOP,
  VFIO_DEVICE_STATE_STOP_COPY as STOP_COPY,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
} from "../../../src/uapi/mod.ts";
import { planPath } from "../../../src/vfio/state/v2_plan.ts";
import { nextHop } from "../../../src/sim/v2/v2_states.ts";
import type { V2Calls } from "./calls.ts";

type Arc = readonly [from: number, to: number];

const BASE: readonly Arc[] = [
  [RESUMING, STOP],
  [STOP, RESUMING],
  [STOP, STOP_COPY],
  [STOP_COPY, STOP],
];

const WITHOUT_P2P: readonly Arc[] = [[RUNNING, STOP], [STOP, RUNNING]];

const P2P: readonly Arc[] = [
  [RUNNING, RUNNING_P2P],
  [RUNNING_P2P, RUNNING],
  [RUNNING_P2P, STOP],
  [STOP, RUNNING_P2P],
];

const PRE: readonly Arc[] = [[RUNNING, PRE_COPY], [PRE_COPY, RUNNING]];

const PRE_WITHOUT_P2P: readonly Arc[] = [[PRE_COPY, STOP_COPY]];

const PRE_P2P: readonly Arc[] = [
  [PRE_COPY, PRE_COPY_P2P],
  [PRE_COPY_P2P, PRE_COPY],
  [PRE_COPY_P2P, RUNNING_P2P],
  [RUNNING_P2P, PRE_COPY_P2P],
  [PRE_COPY_P2P, STOP_COPY],
];

/** The arcs that a driver with these VFIO_MIGRATION_* flags has to take. */
export function arcsOf(flags: number): readonly Arc[] {
  const p2p = (flags & VFIO_MIGRATION_P2P) !== 0;
  const precopy = (flags & VFIO_MIGRATION_PRE_COPY) !== 0;
  return [
    ...BASE,
    ...p2p ? P2P : WITHOUT_P2P,
    ...precopy ? PRE : [],
    ...precopy ? p2p ? PRE_P2P : PRE_WITHOUT_P2P : [],
  ];
}

/** The shortest way by arcs, in steps; Infinity where there is none. */
function distance(arcs: readonly Arc[], from: number, to: number): number {
  const steps = new Map([[from, 0]]);
  const queue = [from];
  for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
    for (const [start, end] of arcs) {
      if (start !== at || steps.has(end)) continue;
      steps.set(end, steps.get(at)! + 1);
      queue.push(end);
    }
  }
  return steps.get(to) ?? Infinity;
}

/** Arcs that come with a new data fd. */
const WITH_FD: readonly Arc[] = [
  [RUNNING, PRE_COPY],
  [RUNNING_P2P, PRE_COPY_P2P],
  [STOP, STOP_COPY],
  [STOP, RESUMING],
];

/** A device with a small state, and what its driver counts. */
export interface TableDevice extends Disposable {
  /** Its calls. */
  readonly calls: V2Calls;
  /** What was done against the protocol, in words. */
  violations(): readonly string[];
}

function refused(call: () => unknown, what: string): void {
  assert.throws(call, (error) => isErrno(error, "EINVAL"), what);
}

/** Asks all of the table of devices that `open` opens, one after the other. */
export function askStateTable(open: () => TableDevice): void {
  using first = open();
  const { flags } = first.calls;
  const arcs = arcsOf(flags);
  const states = [...new Set(arcs.flat())];
  first.calls.go(STOP_COPY);
  // What RESUMING is left with has to be whole.
  const image = first.calls.readAll();
  first.calls.go(RUNNING);
  first[Symbol.dispose]();
  for (const from of states) {
    for (const to of states) {
      using device = open();
      bring(device, from, image);
      askStep(device, from, to, arcs);
    }
    using device = open();
    bring(device, from, image);
    askWrong(device, from, states);
  }
}

/** A device brought to a state. */
function bring({ calls }: TableDevice, state: number, image: Uint8Array<ArrayBuffer>): void {
  calls.go(state);
  assert.equal(calls.v2State, state);
  if (state === RESUMING) calls.writeAll(image);
}

function askStep(
  { calls, violations }: TableDevice,
  from: number,
  to: number,
  arcs: readonly Arc[],
): void {
  const { flags } = calls;
  const way: number[] = [from];
  for (let at = from; at !== to;) {
    const next = nextHop(at, to, flags);
    if (next === null) break;
    assert.ok(arcs.some(([start, end]) => start === at && end === next), `${at} ${next}`);
    way.push(at = next);
  }
  assert.deepEqual(planPath(from, to, flags) ?? [], way.slice(1));
  const before = violations().length;
  if (way.at(-1) === to) {
    assert.equal(way.length - 1, distance(arcs, from, to), way.join(" "));
    calls.go(to);
    assert.equal(calls.v2State, to, way.join(" "));
    const last = [way.at(-2), to];
    const given = way.length > 1 &&
      WITH_FD.some(([start, end]) => start === last[0] && end === last[1]);
    assert.equal(calls.given, given, way.join(" "));
    assert.equal(violations().length, before, violations().join());
  } else {
    refused(() => calls.go(to), `${from} to ${to}`);
    assert.equal(calls.v2State, from);
    assert.equal(violations().length, before + 1);
  }
}

/** ERROR, what the driver does not have, and what nobody has. */
function askWrong(
  { calls, violations }: TableDevice,
  from: number,
  states: readonly number[],
): void {
  const all = [ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P];
  const wrong = [ERROR, ...all.filter((state) => state !== ERROR && !states.includes(state))];
  wrong.push(8, 0xffffffff);
  for (const to of wrong) refused(() => calls.go(to), `${from} to ${to}`);
  assert.equal(calls.v2State, from);
  assert.equal(violations().length, wrong.length);
}
