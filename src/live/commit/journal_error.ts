/**
 * What can be wrong with a migration's journal.
 *
 * @module
 */

import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { VfiokitError } from "../../base/vfiokit_error.ts";

/** What is wrong: a file that is no journal, one that exists, one that cannot be read or written. */
export type JournalErrorCode = "bad-journal" | "exists" | "no-journal" | "unwritable";

/**
 * A journal that cannot be made, read or believed.
 *
 * @example
 * ```ts
 * import { JournalError } from "vfiokit/live";
 * import assert from "node:assert/strict";
 *
 * assert.equal(new JournalError("no-journal", "/tmp/a", "there is none").code, "no-journal");
 * ```
 */
export class JournalError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `JournalError`. */
  override readonly name = "JournalError";
  /** What is wrong. */
  readonly code: JournalErrorCode;
  /** The file. */
  readonly path: string;

  /** Makes the error. */
  constructor(code: JournalErrorCode, path: string, why: string, cause?: unknown) {
    super(printable(`The journal ${path}: ${why}`), cause === undefined ? {} : { cause });
    this.code = code;
    this.path = path;
  }
}
