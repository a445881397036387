/**
 * The v1 states, by the low three bits of device_state.
 */

import {
  VFIO_DEVICE_STATE_V1_RESUMING,
  VFIO_DEVICE_STATE_V1_RUNNING,
  VFIO_DEVICE_STATE_V1_SAVING,
} from "../uapi/constants.ts";

/** The device does nothing. */
export const STOP = 0;
/** The device works. */
export const RUNNING: number = VFIO_DEVICE_STATE_V1_RUNNING;
/** The device is stopped, and its state is read. */
export const STOP_AND_COPY: number = VFIO_DEVICE_STATE_V1_SAVING;
/** The device works, and its state is read. */
export const PRE_COPY: number = VFIO_DEVICE_STATE_V1_RUNNING | VFIO_DEVICE_STATE_V1_SAVING;
/** The device is stopped, and a state is written to it. */
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

/** A state as messages name it. */
export function stateName(state: number): string {
  return NAMES[state & 7]!;
}

/** From each state, the states that may follow it; pre-copy to itself is refused. */
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

/** Whether a device takes the step from one state to another. */
export function isArc(from: number, to: number): boolean {
  return ARCS[from]!.includes(to);
}
