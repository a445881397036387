/**
 * The v1 states: the low three bits of device_state.
 */

import {
  VFIO_DEVICE_STATE_V1_RESUMING,
  VFIO_DEVICE_STATE_V1_RUNNING,
  VFIO_DEVICE_STATE_V1_SAVING,
} from "../../uapi/constants.ts";

/** The device is stopped. */
export const STOP = 0;
/** The device runs. */
export const RUNNING: number = VFIO_DEVICE_STATE_V1_RUNNING;
/** The device is stopped; its state may be read. */
export const STOP_AND_COPY: number = VFIO_DEVICE_STATE_V1_SAVING;
/** The device runs; its state may be read. */
export const PRE_COPY: number = VFIO_DEVICE_STATE_V1_RUNNING | VFIO_DEVICE_STATE_V1_SAVING;
/** The device is stopped; a new state may be written. */
export const RESUMING: number = VFIO_DEVICE_STATE_V1_RESUMING;
/** The device has failed. */
export const ERROR: number = VFIO_DEVICE_STATE_V1_SAVING | VFIO_DEVICE_STATE_V1_RESUMING;

const NAMES = [
  "STOP (000b)",
  "RUNNING (001b)",
  "stop-and-copy (010b)",
  "pre-copy (011b)",
  "RESUMING (100b)",
  "101b",
  "ERROR (110b)",
  "111b",
] as const;

/** A state's name in messages. */
export function stateName(state: number): string {
  return NAMES[state & 7]!;
}

/** For each state, the states that may follow it. Pre-copy to itself is refused. */
const ARCS: readonly (readonly number[])[] = [
  [STOP, RUNNING],
  [STOP, RUNNING, STOP_AND_COPY, PRE_COPY, RESUMING],
  [STOP, RUNNING, STOP_AND_COPY],
  [STOP, RUNNING, STOP_AND_COPY],
  [RUNNING, RESUMING],
  [],
  [],
  [],
];

/** Whether a device may go from one state to another. */
export function isArc(from: number, to: number): boolean {
  return ARCS[from]!.includes(to);
}
