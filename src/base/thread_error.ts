/**
 * The error of a thread that ended by itself.
 *
 * @module
 */

import { registerErrorClass } from "./error_transfer.ts";
import { VfiokitError } from "./vfiokit_error.ts";

/**
 * A thread of the library ended by itself: out of memory, or by a fault in the library or in a
 * vendor's checks. The thread of an open device has an error of its own, which says what became of
 * the device.
 *
 * @example
 * ```ts
 * import { ThreadError } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const error = new ThreadError("Cannot go on checking: the thread has ended");
 * assert.equal(error.code, "thread-ended");
 * ```
 */
export class ThreadError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `ThreadError`. */
  override readonly name = "ThreadError";
  /** Always `thread-ended`. */
  readonly code = "thread-ended" as const;
}
