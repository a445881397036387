/**
 * What is wrong with a trace that is read.
 *
 * @module
 */

import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { VfiokitError } from "../../base/vfiokit_error.ts";

/** What can be wrong with a trace. */
export type TraceErrorCode =
  /** The file is not one. */
  | "not-a-trace"
  /** It is of a version that this program does not read. */
  | "version"
  /** A line is not what the format says. */
  | "line"
  /** A line is longer than any line of a trace. */
  | "length"
  /** A call is missing, or not in its place. */
  | "order"
  /** The end is missing: the program ended, or the disk was full. */
  | "cut";

/**
 * A trace that cannot be read, or not to its end.
 *
 * @example
 * ```ts
 * import { TraceError } from "vfiokit/trace";
 * import assert from "node:assert/strict";
 *
 * const error = new TraceError("cut", "t.jsonl", 7, "it has no end");
 * assert.equal(error.message, "t.jsonl, line 7: it has no end");
 * ```
 */
export class TraceError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `TraceError`. */
  override readonly name = "TraceError";
  /** What is wrong. */
  readonly code: TraceErrorCode;
  /** The file. */
  readonly path: string;
  /** The line, from 1 on. */
  readonly line: number;

  /** Makes the error. */
  constructor(code: TraceErrorCode, path: string, line: number, what: string) {
    super(printable(`${path}, line ${line}: ${what}`));
    this.code = code;
    this.path = path;
    this.line = line;
  }
}
