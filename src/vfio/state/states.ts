/**
 * The migration states by name, and what a device reports about them.
 *
 * @module
 */

import type { DriverNote } from "../notes/driver_notes.ts";

/**
 * A v1 state, by the bits of device_state: `stop` 000b, `running` 001b,
 * `stop-and-copy` 010b, `pre-copy` 011b, `resuming` 100b, `error` 110b,
 * `invalid` 101b and 111b.
 */
export type V1StateName =
  | "stop"
  | "running"
  | "stop-and-copy"
  | "pre-copy"
  | "resuming"
  | "error"
  | "invalid";

/**
 * A v2 state (enum vfio_device_mig_state). Its numbers are not those of v1.
 */
export type V2StateName =
  | "error"
  | "stop"
  | "running"
  | "stop-copy"
  | "resuming"
  | "running-p2p"
  | "pre-copy"
  | "pre-copy-p2p";

/** A device's migration state by name, whichever protocol it speaks; `unknown`: it could not be read. */
export type StateName = V1StateName | V2StateName | "unknown";

/** All of these names. */
export const STATES: readonly StateName[] = [
  "unknown",
  "stop",
  "running",
  "stop-and-copy",
  "pre-copy",
  "resuming",
  "error",
  "invalid",
  "stop-copy",
  "running-p2p",
  "pre-copy-p2p",
];

/** The states that a caller may ask for; a device refuses those of the other protocol. */
export type TargetState = Exclude<StateName, "error" | "invalid" | "unknown">;

/** The migration protocols: the v1 region, the v2 device feature. */
export type Protocol = "v1" | "v2";

/** What a device's state is now. */
export type StateReport =
  | {
    /** The protocol that gave the answer. */
    readonly protocol: "v1";
    /** The state's name. */
    readonly state: V1StateName | "unknown";
    /** All 32 bits of device_state as read; null if it could not be read. */
    readonly raw: number | null;
  }
  | {
    /** The protocol that gave the answer. */
    readonly protocol: "v2";
    /** The state's name. */
    readonly state: V2StateName | "unknown";
    /** The state's number; null if it could not be read. */
    readonly raw: number | null;
  };

/** A {@linkcode StateReport} from a device, with what its driver did against the rules meanwhile. */
export type NotedStateReport = StateReport & {
  /** What was noted of the driver while this was asked. */
  readonly notes: readonly DriverNote[];
};
