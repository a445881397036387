/**
 * The v2 states, and how the kernel goes from one to another: the table of
 * vfio_mig_get_next_state, which the header's arcs and flags lead to.
 *
 * @module
 */

import {
  VFIO_DEVICE_STATE_ERROR as ERROR,
  VFIO_DEVICE_STATE_PRE_COPY as PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P as PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_RUNNING as RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P as RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP as STOP,
  VFIO_DEVICE_STATE_STOP_COPY as STOP_COPY,
  VFIO_MIGRATION_P2P as P2P,
  VFIO_MIGRATION_PRE_COPY,
} from "../../uapi/mod.ts";

export { ERROR, PRE_COPY, PRE_COPY_P2P, RESUMING, RUNNING, RUNNING_P2P, STOP, STOP_COPY };

/** The names of the states by their numbers. */
export const STATE_NAMES: readonly string[] = [
  ...["ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING"],
  ...["RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P"],
];

/** Every state but ERROR. */
export const STATES: readonly number[] = [
  ...[RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP, STOP_COPY, RESUMING],
];

/** A state's name in messages. */
export function stateName(state: number): string {
  return STATE_NAMES[state] ?? `state ${state}`;
}

/** The VFIO_MIGRATION_* that a state needs besides STOP_COPY. */
export function flagsOf(state: number): number {
  switch (state) {
    case RUNNING_P2P:
      return P2P;
    case PRE_COPY:
      return VFIO_MIGRATION_PRE_COPY;
    case PRE_COPY_P2P:
      return P2P | VFIO_MIGRATION_PRE_COPY;
    default:
      return 0;
  }
}

/** Whether a device with these VFIO_MIGRATION_* has a state. */
export function hasState(state: number, flags: number): boolean {
  return (flags & flagsOf(state)) === flagsOf(state);
}

/** The next state on the way from one state to another, for a device with all flags. */
const NEXT: Readonly<Record<number, Readonly<Record<number, number>>>> = {
  [STOP]: {
    [RUNNING]: RUNNING_P2P,
    [STOP_COPY]: STOP_COPY,
    [RESUMING]: RESUMING,
    [RUNNING_P2P]: RUNNING_P2P,
    [PRE_COPY]: RUNNING_P2P,
    [PRE_COPY_P2P]: RUNNING_P2P,
  },
  [RUNNING]: {
    [STOP]: RUNNING_P2P,
    [STOP_COPY]: RUNNING_P2P,
    [RESUMING]: RUNNING_P2P,
    [RUNNING_P2P]: RUNNING_P2P,
    [PRE_COPY]: PRE_COPY,
    [PRE_COPY_P2P]: RUNNING_P2P,
  },
  [STOP_COPY]: { [STOP]: STOP, [RUNNING]: STOP, [RESUMING]: STOP, [RUNNING_P2P]: STOP },
  [RESUMING]: {
    [STOP]: STOP,
    [RUNNING]: STOP,
    [STOP_COPY]: STOP,
    [RUNNING_P2P]: STOP,
    [PRE_COPY]: STOP,
    [PRE_COPY_P2P]: STOP,
  },
  [RUNNING_P2P]: {
    [STOP]: STOP,
    [RUNNING]: RUNNING,
    [STOP_COPY]: STOP,
    [RESUMING]: STOP,
    [PRE_COPY]: RUNNING,
    [PRE_COPY_P2P]: PRE_COPY_P2P,
  },
  [PRE_COPY]: {
    [STOP]: RUNNING,
    [RUNNING]: RUNNING,
    [STOP_COPY]: PRE_COPY_P2P,
    [RESUMING]: RUNNING,
    [RUNNING_P2P]: RUNNING,
    [PRE_COPY_P2P]: PRE_COPY_P2P,
  },
  [PRE_COPY_P2P]: {
    [STOP]: RUNNING_P2P,
    [RUNNING]: RUNNING_P2P,
    [STOP_COPY]: STOP_COPY,
    [RESUMING]: RUNNING_P2P,
    [RUNNING_P2P]: RUNNING_P2P,
    [PRE_COPY]: PRE_COPY,
  },
};

/**
 * The states that a SET goes through, the target last, for a device with these VFIO_MIGRATION_*;
 * null if the SET is refused. Empty if the device is there already.
 *
 * @example
 * ```ts
 * import { pathTo, RUNNING, RUNNING_P2P, STOP } from "./states.ts";
 * import { VFIO_MIGRATION_P2P, VFIO_MIGRATION_STOP_COPY } from "@vfiokit/vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P;
 * assert.deepEqual(pathTo(RUNNING, STOP, flags), [RUNNING_P2P, STOP]);
 * assert.equal(pathTo(RUNNING, 0, flags), null);
 * ```
 */
export function pathTo(from: number, to: number, flags: number): number[] | null {
  if (!hasState(from, flags) || !hasState(to, flags)) return null;
  const path: number[] = [];
  for (let at = from; at !== to;) {
    let next = NEXT[at]?.[to];
    // A state that the device does not have is passed by.
    while (next !== undefined && !hasState(next, flags)) next = NEXT[next]?.[to];
    if (next === undefined) return null;
    path.push(next);
    at = next;
  }
  return path;
}

/** Whether a state is one of pre-copy. */
export function isPreCopy(state: number): boolean {
  return state === PRE_COPY || state === PRE_COPY_P2P;
}

/** Whether the step between two neighbouring states opens a data_fd. */
export function opensFd(from: number, to: number): boolean {
  if (isPreCopy(to)) return !isPreCopy(from);
  return from === STOP && (to === STOP_COPY || to === RESUMING);
}
