/**
 * Memory whose writes cannot be found by write-protection.
 *
 * @module
 */

import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { VfiokitError } from "../../base/vfiokit_error.ts";

/**
 * Memory that is not write-protected, though it was said to be: what was written there is not known.
 *
 * @example
 * ```ts
 * import { WriteProtectionError } from "vfiokit/dirty";
 * import assert from "node:assert/strict";
 *
 * const error = new WriteProtectionError("Cannot find what was written", "register all of it");
 * assert.equal(error.code, "not-protected");
 * ```
 */
export class WriteProtectionError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `WriteProtectionError`. */
  override readonly name = "WriteProtectionError";
  /** Always `not-protected`. */
  readonly code = "not-protected" as const;

  /** Makes the error. */
  constructor(message: string, hint: string, options?: ErrorOptions) {
    super(printable(message), options, hint);
  }
}
