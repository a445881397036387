/**
 * The error of a bad checkpoint.
 *
 * @module
 */

import { type Hint, VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import { printable } from "../base/printable.ts";

/** The code for what is wrong with a checkpoint. */
export type CheckpointErrorCode =
  /** There are no bytes at all. */
  | "empty"
  /** The first bytes are not a checkpoint's. */
  | "not-a-checkpoint"
  /** A later or nonexistent version of the format. */
  | "version"
  /** It ends before the end of its trailer. */
  | "truncated"
  /** A CRC differs: bytes were changed. */
  | "crc"
  /** A frame is missing, repeated, misplaced, or from another checkpoint. */
  | "order"
  /** A length beyond the format's limit. */
  | "length"
  /** A frame with a correct CRC but invalid content. */
  | "frame"
  /** A required frame that this version does not know. */
  | "unknown-frame"
  /** The header is invalid. */
  | "header"
  /** A frame that does not decompress to its declared length. */
  | "compression"
  /** The trailer does not match what came before it. */
  | "trailer"
  /** The content's digest differs. */
  | "digest"
  /** There are bytes after the trailer. */
  | "trailing"
  /** It holds only the pre-copy phase, and the caller needs a complete checkpoint. */
  | "incomplete";

/**
 * A bad checkpoint: what is wrong, and where.
 *
 * @example
 * ```ts
 * import { CheckpointError } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const error = new CheckpointError("crc", 4096, "frame 2 has a wrong CRC");
 * assert.equal(error.message, "Cannot read the checkpoint: frame 2 has a wrong CRC (at byte 4096)");
 * ```
 */
export class CheckpointError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `CheckpointError`. */
  override readonly name = "CheckpointError";
  /** What is wrong, as a code. */
  readonly code: CheckpointErrorCode;
  /** What is wrong and where, as a clause: `frame 2 has a wrong CRC (at byte 4096)`. */
  readonly problem: string;
  /** The offset in bytes: of the frame, or of the first superfluous or missing byte. */
  readonly offset: number;

  /** Makes the error; `what` is a clause without a final period. */
  constructor(
    code: CheckpointErrorCode,
    offset: number,
    what: string,
    { hint, ...options }: ErrorOptions & { readonly hint?: Hint | string } = {},
  ) {
    super(printable(`Cannot read the checkpoint: ${what} (at byte ${offset})`), options, hint);
    this.code = code;
    this.problem = printable(`${what} (at byte ${offset})`);
    this.offset = offset;
  }
}
