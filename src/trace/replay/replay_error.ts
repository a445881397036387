/**
 * Where a replay leaves what was recorded.
 *
 * @module
 */

import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { VfiokitError } from "../../base/vfiokit_error.ts";

/** How a replay can end before its time. */
export type ReplayErrorCode =
  /** A call is another one than was recorded. */
  | "diverged"
  /** A call was made after the last one that was recorded. */
  | "trace-ended"
  /** Calls that were recorded were not made. */
  | "calls-left";

/** What a {@linkcode ReplayError} knows. */
export interface ReplayErrorInfo {
  /** How the replay left what was recorded. */
  readonly code: ReplayErrorCode;
  /** The trace. */
  readonly path: string;
  /** The thread of it. */
  readonly thread: number;
  /** The number of the call on that thread. */
  readonly call: number;
  /** The call that was recorded; null if there is none any more. */
  readonly expected: string | null;
  /** The call that was made instead; null if none was. */
  readonly actual: string | null;
}

/**
 * A program does something else than what was recorded: at which call, and what.
 *
 * @example
 * ```ts
 * import { ReplayError } from "vfiokit/trace";
 * import assert from "node:assert/strict";
 *
 * const error = new ReplayError({
 *   ...{ code: "diverged", path: "t.jsonl", thread: 1, call: 3 },
 *   ...{ expected: "close(5)", actual: "close(6)" },
 * });
 * assert.equal(
 *   error.message,
 *   "The replay of t.jsonl leaves the trace at call 3 of thread 1: expected close(5), got close(6)",
 * );
 * ```
 */
export class ReplayError extends VfiokitError implements ReplayErrorInfo {
  static {
    registerErrorClass(this);
  }

  /** Always `ReplayError`. */
  override readonly name = "ReplayError";
  /** How the replay left what was recorded. */
  readonly code: ReplayErrorCode;
  /** The trace. */
  readonly path: string;
  /** The thread of it. */
  readonly thread: number;
  /** The number of the call on that thread. */
  readonly call: number;
  /** The call that was recorded; null if there is none any more. */
  readonly expected: string | null;
  /** The call that was made instead; null if none was. */
  readonly actual: string | null;

  /** Makes the error. */
  constructor({ code, path, thread, call, expected, actual }: ReplayErrorInfo) {
    super(printable(
      `The replay of ${path} leaves the trace at call ${call} of thread ${thread}: expected ` +
        `${expected ?? "no more calls"}, got ${actual ?? "no more calls"}`,
    ));
    this.code = code;
    this.path = path;
    this.thread = thread;
    this.call = call;
    this.expected = expected;
    this.actual = actual;
  }
}
