/**
 * How writing a trace's file can fail.
 *
 * @module
 */

import { registerErrorClass } from "../../base/error_transfer.ts";
import { VfiokitError } from "../../base/vfiokit_error.ts";
import { ERRNO, type ErrnoName, errnoOf, errnoText } from "../../kernel/errno_names.ts";
import { printable } from "../../base/printable.ts";

/**
 * A trace that cannot be created or written.
 *
 * @example
 * ```ts
 * import { Trace, TraceFileError } from "vfiokit/trace";
 * import assert from "node:assert/strict";
 *
 * assert.throws(() => Trace.create("/tmp"), TraceFileError);
 * ```
 */
export class TraceFileError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `TraceFileError`. */
  override readonly name = "TraceFileError";
  /** The errno's name, such as `ENOSPC`; null if the runtime gave none. */
  readonly code: ErrnoName | null;
  /** The file. */
  readonly path: string;

  private constructor(message: string, path: string, code: ErrnoName | null, cause: unknown) {
    const hint = code === "EEXIST" ? "It is no trace: give the trace a name of its own" : null;
    super(printable(message), { cause }, hint);
    this.path = path;
    this.code = code;
  }

  /** The error of a call that failed. */
  static of(what: string, path: string, cause: unknown): TraceFileError {
    const code = errnoOf(cause);
    const why = code === null ? (cause as Error).message : `${code} (${errnoText(ERRNO[code])})`;
    return new TraceFileError(`${what} ${path}: ${why}`, path, code, cause);
  }
}
