/**
 * The v2 states, and the path from one to another as the kernel's core computes it
 * (vfio_mig_get_next_state).
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
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
} from "../../uapi/constants.ts";

export { ERROR, PRE_COPY, PRE_COPY_P2P, RESUMING, RUNNING, RUNNING_P2P, STOP, STOP_COPY };

/** The names of the states, by number. */
const NAMES = [
  "ERROR",
  "STOP",
  "RUNNING",
  "STOP_COPY",
  "RESUMING",
  "RUNNING_P2P",
  "PRE_COPY",
  "PRE_COPY_P2P",
] as const;

/** A state's name in messages. */
export function v2StateName(state: number): string {
  return NAMES[state] ?? `state ${state}`;
}

const BASE = VFIO_MIGRATION_STOP_COPY;

/** The VFIO_MIGRATION_* flags that each state requires, by the state's number. */
const NEEDS: readonly number[] = [
  0,
  BASE,
  BASE,
  BASE,
  BASE,
  BASE | VFIO_MIGRATION_P2P,
  BASE | VFIO_MIGRATION_PRE_COPY,
  BASE | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY,
];

/**
 * The first hop. The row is the current state, the column the requested one, both
 * in the order of their numbers. ERROR means refused.
 */
// deno-fmt-ignore
const HOPS: readonly (readonly number[])[] = [
  [ERROR, ERROR, ERROR, ERROR, ERROR, ERROR, ERROR, ERROR],
  [ERROR, STOP, RUNNING_P2P, STOP_COPY, RESUMING, RUNNING_P2P, RUNNING_P2P, RUNNING_P2P],
  [ERROR, RUNNING_P2P, RUNNING, RUNNING_P2P, RUNNING_P2P, RUNNING_P2P, PRE_COPY, RUNNING_P2P],
  [ERROR, STOP, STOP, STOP_COPY, STOP, STOP, ERROR, ERROR],
  [ERROR, STOP, STOP, STOP, RESUMING, STOP, STOP, STOP],
  [ERROR, STOP, RUNNING, STOP, STOP, RUNNING_P2P, RUNNING, PRE_COPY_P2P],
  [ERROR, RUNNING, RUNNING, PRE_COPY_P2P, RUNNING, RUNNING, PRE_COPY, PRE_COPY_P2P],
  [ERROR, RUNNING_P2P, RUNNING_P2P, STOP_COPY, RUNNING_P2P, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P],
];

/** Whether a driver with these VFIO_MIGRATION_* flags supports a state. */
function supported(state: number, flags: number): boolean {
  const needs = NEEDS[state];
  return needs !== undefined && (flags & needs) === needs;
}

/**
 * The first hop from one state to another for a driver with these
 * VFIO_MIGRATION_* flags; null if the transition is refused.
 */
export function nextHop(from: number, to: number, flags: number): number | null {
  if (!supported(from, flags) || !supported(to, flags)) return null;
  let next = HOPS[from]![to]!;
  // States that the driver does not support are skipped.
  while (!supported(next, flags)) next = HOPS[next]![to]!;
  return next === ERROR ? null : next;
}

/** Whether a device runs in this state. */
export function isRunning(state: number): boolean {
  return state === RUNNING || state === RUNNING_P2P || isPreCopy(state);
}

/** Whether a device runs in this state while its state is read. */
export function isPreCopy(state: number): boolean {
  return state === PRE_COPY || state === PRE_COPY_P2P;
}
