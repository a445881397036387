/**
 * Ranges that cannot be mapped, tracked, read or unmapped as requested.
 *
 * @module
 */

import { VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";

/** A range that is the caller's mistake; the kernel was not called. */
export class DirtyRangeError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `DirtyRangeError`. */
  override readonly name = "DirtyRangeError";
  /** Always `bad-range`. */
  readonly code = "bad-range" as const;
}
