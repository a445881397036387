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
 * ```
 */
export function describeRecovery(recovery: Recovery, state: StateName): string {
  switch (recovery) {
    case "running":
      return "the device is running again";
    case "reset":
      return "the device was reset and is running, its former state is lost";
    case "failed":
      return `the device could not be reset, and its state is ${state}`;
    case "none":
      return `the device's state is ${state}`;
  }
}
