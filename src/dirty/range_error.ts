/**
 * Ranges that cannot be mapped, tracked, read or unmapped as requested.
 *
 * @module
 */

import { VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";

/**
 * A range that is the caller's mistake; the kernel was not called.
 *
 * @example
 * ```ts
 * import { DirtyRangeError, MappedDevice } from "vfiokit/dirty";
 * import assert from "node:assert/strict";
 *
 * const maps = [{ iova: 0x100000n, size: 100n }];
 * assert.throws(() => MappedDevice.open("sim:trapped", { maps }), DirtyRangeError);
 * ```
 */
export class DirtyRangeError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `DirtyRangeError`. */
  override readonly name = "DirtyRangeError";
  /** Always `bad-range`. */
  readonly code = "bad-range" as const;
}
