/**
 * What a recovery did, in words.
 *
 * @module
 */

import type { Recovery } from "./error.ts";
import type { StateName } from "./types.ts";

/**
 * Says in words what a recovery did, and where the device is now.
 *
 * @example
 * ```ts
 * import { describeRecovery } from "./recovery.ts";
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
