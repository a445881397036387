/**
 * The v2 states by the header's names. How the kernel goes from one to another is in
 * ../../vfio/state/v2_plan.ts.
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

/** Whether a state is one of pre-copy. */
export function isPreCopy(state: number): boolean {
  return state === PRE_COPY || state === PRE_COPY_P2P;
}

/** Whether the step between two neighbouring states opens a data_fd. */
export function opensFd(from: number, to: number): boolean {
  if (isPreCopy(to)) return !isPreCopy(from);
  return from === STOP && (to === STOP_COPY || to === RESUMING);
}
