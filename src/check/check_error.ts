/**
 * Why a device is not checked.
 *
 * @module
 */

import { registerErrorClass } from "../base/error_transfer.ts";
import { type Hint, VfiokitError } from "../base/vfiokit_error.ts";
import { printable } from "../base/printable.ts";

/**
 * `different-kinds`: the second device is of another kind. `not-running`: the device is not in
 * RUNNING. `no-such-check`: no check and no group has that name. `bad-checks`: a module of checks
 * cannot be used.
 */
export type CheckErrorCode = "different-kinds" | "not-running" | "no-such-check" | "bad-checks";

/**
 * A device that is not checked, or cannot be: no check has begun.
 *
 * @example
 * ```ts
 * import { check, CheckError } from "vfiokit/check";
 * import assert from "node:assert/strict";
 *
 * const run = check("sim:mlx5?size=64KiB", { only: ["no.such.check"] });
 * await assert.rejects(run.plan(), (error) => {
 *   assert.ok(error instanceof CheckError);
 *   assert.equal(error.code, "no-such-check");
 *   return true;
 * });
 * ```
 */
export class CheckError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `CheckError`. */
  override readonly name = "CheckError";
  /** What is wrong. */
  readonly code: CheckErrorCode;

  /** Makes the error. */
  constructor(code: CheckErrorCode, message: string, hint: Hint | string | null = null) {
    super(printable(message), undefined, hint);
    this.code = code;
  }
}
