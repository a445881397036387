/**
 * What goes wrong between the two sides of a live migration.
 *
 * @module
 */

import { type Hint, VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import { printable } from "../base/printable.ts";
import type { LiveErrorCode } from "../transfer/transfer_error.ts";

export type { LiveErrorCode };

/**
 * A live migration that failed for a reason other than the devices: the connection, the other side,
 * or memory that changes faster than it is sent.
 *
 * @example
 * ```ts
 * import { LiveError } from "vfiokit/live";
 * import assert from "node:assert/strict";
 *
 * assert.equal(new LiveError("connection-lost", "the connection has ended").code, "connection-lost");
 * ```
 */
export class LiveError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `LiveError`. */
  override readonly name = "LiveError";
  /** What went wrong. */
  readonly code: LiveErrorCode;

  /** Makes the error. */
  constructor(code: LiveErrorCode, message: string, hint?: Hint | string, options?: ErrorOptions) {
    super(printable(message), options, hint);
    this.code = code;
  }
}
