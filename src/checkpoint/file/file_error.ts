/**
 * The error of a checkpoint's file, as opposed to its content.
 *
 * @module
 */

import { type Hint, VfiokitError } from "../../base/vfiokit_error.ts";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { ERRNO, errnoText } from "../../kernel/errno_names.ts";

/** The details of a {@linkcode CheckpointFileError}. */
export interface CheckpointFileErrorInfo {
  /** The file, as it was named. */
  readonly path: string;
  /** The errno's name; null where the runtime gave none. */
  readonly code: string | null;
  /** What to do next. */
  readonly hint?: Hint | string | null | undefined;
}

/**
 * A file that cannot be opened, read, written or renamed.
 *
 * @example
 * ```ts
 * import { CheckpointFileError } from "@vfiokit/vfiokit";
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
  /** The errno's name; null where the runtime gave none. */
  readonly code: string | null;

  /** Makes the error. */
  constructor(message: string, info: CheckpointFileErrorInfo, options?: ErrorOptions) {
    super(printable(message), options, info.hint);
    this.path = info.path;
    this.code = info.code;
  }
}

/** The errno's name in an error of node:fs or of this toolkit, or Node's own code; null for none. */
export function errorCode(error: unknown): string | null {
  const code = (error as { readonly code?: unknown } | null)?.code;
  return typeof code === "string" && /^E[A-Z0-9_]+$/.test(code) ? code : null;
}

/** An errno with its text: `ENOSPC (no space left)`. */
function describe(code: string): string {
  return Object.hasOwn(ERRNO, code)
    ? `${code} (${errnoText(ERRNO[code as keyof typeof ERRNO])})`
    : code;
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
  const code = errorCode(cause);
  const why = code !== null ? describe(code) : cause instanceof Error ? cause.message : `${cause}`;
  const message = `Cannot ${action} "${path}": ${why}${and}`;
  return new CheckpointFileError(message, { path, code }, { cause });
}

/** A {@linkcode CheckpointFileError} for an errno that no call gave. */
export function errnoError(
  action: string,
  path: string,
  code: keyof typeof ERRNO,
  hint?: Hint,
): CheckpointFileError {
  const message = `Cannot ${action} "${path}": ${describe(code)}`;
  return new CheckpointFileError(message, { path, code, hint });
}
