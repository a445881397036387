/**
 * Judging a VFIO migration driver: `check` runs checks on a device and yields a verdict for each;
 * `defineCheck` adds a vendor's own.
 *
 * @example
 * ```ts
 * import { check } from "vfiokit/check";
 * import assert from "node:assert/strict";
 *
 * let failed = 0;
 * for await (const verdict of check("sim:mlx5?size=64KiB", { only: ["arcs"] })) {
 *   if (verdict.outcome === "fail") failed += 1;
 * }
 * assert.equal(failed, 0);
 * ```
 *
 * @module
 */

export { ThreadError } from "../base/thread_error.ts";
export type { BenchOptions } from "./devices/devices_under_check.ts";
export { type Attempt, attempt } from "./attempt.ts";
export { CHECKS } from "./built_in.ts";
export { check, type CheckOptions, type CheckPlan, CheckRun } from "./check.ts";
export { CheckError, type CheckErrorCode } from "./check_error.ts";
export { CheckContext } from "./context.ts";
export { type Check, defineCheck, GROUPS, type Needs } from "./define.ts";
export { type Safety, SAFETY_LEVELS } from "./safety.ts";
export { type Rule, rule, RULES, UNCHECKED } from "./rules.ts";
export type { CheckedDevice, CheckedFds } from "./runner.ts";
export type { CheckInfo } from "./thread/requests.ts";
export { type Selectable, selectChecks, type Selection } from "./select.ts";
export { type Register, V1Device, type V1Transaction } from "./v1/v1_device.ts";
export { type SetAnswer, type Steps, type Stream, V2Device } from "./v2/v2_device.ts";
export type { SecondCommand, SecondThread, SecondThreadResult } from "./thread/second_thread.ts";
export { Finding, type Outcome, type Verdict } from "./verdict.ts";
