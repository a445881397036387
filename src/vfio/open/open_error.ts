/**
 * The error for a device that could not be opened this time.
 *
 * @module
 */

import { VfiokitError } from "../../base/vfiokit_error.ts";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { hintOfReason, type Reason, type ReasonCode } from "../reasons/unsupported_error.ts";

/**
 * A device could not be opened this time: the process or the machine lacks a resource, or the
 * hardware does not answer. If it cannot work until something changes, the error is an
 * `UnsupportedError`; if the device is in use, a `BusyError`. The message is that of the first
 * reason; the `cause` is the `SysError` of the call.
 *
 * @example
 * ```ts
 * import { OpenError } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const error = new OpenError([
 *   { code: "no-fds", message: "Too many files are open", hint: "ulimit -n 4096", blocks: true },
 * ]);
 * assert.equal(error.code, "no-fds");
 * assert.equal(error.hint?.text, "ulimit -n 4096");
 * ```
 */
export class OpenError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `OpenError`. */
  override readonly name = "OpenError";
  /** The first reason's code. */
  readonly code: ReasonCode;
  /** At least one reason: why it failed, and why the other way to open it did. */
  readonly reasons: readonly Reason[];

  /** Makes the error from its reasons. */
  constructor(reasons: readonly Reason[], options?: ErrorOptions) {
    super(
      printable(reasons[0]?.message ?? "Cannot open the device"),
      options,
      hintOfReason(reasons[0]),
    );
    this.code = reasons[0]?.code ?? "open-failed";
    this.reasons = reasons;
  }
}
