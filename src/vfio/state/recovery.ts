/**
 * What is done to bring a device back after a failure, and where that leaves it.
 *
 * @module
 */

import type { StateName } from "./states.ts";

/** What was done to a device after a failure. */
export type Recovery =
  /** Nothing had to be done, or nothing was asked for (`onError: "leave"`). */
  | "none"
  /** An arc led back to RUNNING. */
  | "running"
  /** VFIO_DEVICE_RESET, and RUNNING was read back. */
  | "reset"
  /** VFIO_DEVICE_RESET changed nothing; closed and opened again, and RUNNING was read back. */
  | "reopened"
  /** VFIO_DEVICE_RESET succeeded, and RUNNING was not read back. */
  | "ignored"
  /** Even the reset failed. */
  | "failed";

/**
 * Whether a device that was left like this needs a reset.
 *
 * @example
 * ```ts
 * import { isLost } from "vfiokit/vfio";
 * import assert from "node:assert/strict";
 *
 * assert.equal(isLost("error", "none"), true);
 * assert.equal(isLost("stop", "none"), false);
 * ```
 */
export function isLost(state: StateName, recovery: Recovery): boolean {
  return state === "error" || state === "unknown" || state === "invalid" ||
    recovery === "failed" || recovery === "ignored";
}

/**
 * Says in words what a recovery did, and where the device is now.
 *
 * @example
 * ```ts
 * import { describeRecovery } from "vfiokit/vfio";
 * import assert from "node:assert/strict";
 *
 * assert.equal(describeRecovery("running", "running"), "the device is running again");
 * assert.equal(describeRecovery("none", "stop", "fd:3"), "fd:3's state is stop");
 * ```
 */
export function describeRecovery(
  recovery: Recovery,
  state: StateName,
  who: string = "the device",
): string {
  switch (recovery) {
    case "running":
      return `${who} is running again`;
    case "reset":
      return `${who} was reset and is running, its former state is lost`;
    case "reopened":
      return `the reset of ${who} changed nothing; it was closed and opened again and is running, ` +
        "its former state is lost";
    case "ignored":
      return `${
        who === "the device" ? "the reset" : `the reset of ${who}`
      } was accepted, and the driver stayed in ${state}`;
    case "failed":
      return `${who} could not be reset, and its state is ${state}`;
    case "none":
      return `${who}'s state is ${state}`;
  }
}
