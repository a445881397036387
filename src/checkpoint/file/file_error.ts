/**
 * The error of a checkpoint's file, as opposed to its content.
 *
 * @module
 */

import { type Hint, VfiokitError } from "../../base/vfiokit_error.ts";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { ERRNO, type ErrnoName, errnoOf, errnoText } from "../../kernel/errno_names.ts";

/** The details of a {@linkcode CheckpointFileError}. */
export interface CheckpointFileErrorInfo {
  /** The file, as it was named. */
  readonly path: string;
  /** The errno's name; null if the runtime gave none. */
  readonly code: ErrnoName | null;
  /** What to do next. */
  readonly hint?: Hint | string | null | undefined;
}

/**
 * A file that cannot be opened, read, written or renamed.
 *
 * @example
 * ```ts
 * import { CheckpointFileError } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const error = new CheckpointFileError('Cannot create "a.vfk": EEXIST (already exists)', {
 *   path: "a.vfk",
 *   code: "EEXIST",
 * });
 * assert.equal(error.code, "EEXIST");
 * ```
 */
export class CheckpointFileError extends VfiokitError implements CheckpointFileErrorInfo {
  static {
    registerErrorClass(this);
  }

  /** Always `CheckpointFileError`. */
  override readonly name = "CheckpointFileError";
  /** The file, as it was named. */
  readonly path: string;
  /** The errno's name; null if the runtime gave none. */
  readonly code: ErrnoName | null;

  /** Makes the error. */
  constructor(message: string, info: CheckpointFileErrorInfo, options?: ErrorOptions) {
    super(printable(message), options, info.hint);
    this.path = info.path;
    this.code = info.code;
  }
}

/** An errno with its text: `ENOSPC (no space left)`. */
function describe(code: ErrnoName): string {
  return `${code} (${errnoText(ERRNO[code])})`;
}

/** Why a call failed, by what it threw. */
export function whyFailed(cause: unknown): string {
  const code = errnoOf(cause);
  return code !== null ? describe(code) : cause instanceof Error ? cause.message : `${cause}`;
}

/**
 * Makes a {@linkcode CheckpointFileError} of what a call threw: `action` on
 * `path` failed, and `after` is what became of the file. What is one already
 * says what failed itself.
 */
export function fileError(
  action: string,
  path: string,
  cause: unknown,
  after = "",
): CheckpointFileError {
  const and = after === "" ? "" : `; ${after}`;
  if (cause instanceof CheckpointFileError) {
    return and === "" ? cause : new CheckpointFileError(cause.message + and, cause, { cause });
  }
  const message = `Cannot ${action} "${path}": ${whyFailed(cause)}${and}`;
  return new CheckpointFileError(message, { path, code: errnoOf(cause) }, { cause });
}

/** A {@linkcode CheckpointFileError} for an errno that no call gave. */
export function errnoError(
  action: string,
  path: string,
  code: ErrnoName,
  hint?: Hint,
): CheckpointFileError {
  const message = `Cannot ${action} "${path}": ${describe(code)}`;
  return new CheckpointFileError(message, { path, code, hint });
}
