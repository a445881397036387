/**
 * Ranges that cannot be mapped, tracked, read or unmapped as they are asked for.
 *
 * @module
 */

import { VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";

/** A range that is a mistake of the caller; the kernel was not asked. */
export class DirtyRangeError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `DirtyRangeError`. */
  override readonly name = "DirtyRangeError";
  /** Always `bad-range`. */
  readonly code = "bad-range" as const;
}
