/**
 * The error of a file of another program that cannot be read.
 *
 * @module
 */

import { registerErrorClass } from "../base/error_transfer.ts";
import { printable } from "../base/printable.ts";
import { VfiokitError } from "../base/vfiokit_error.ts";

/** What is wrong with such a file, as a code. */
export type VmmFileErrorCode =
  /** The first bytes are not those of such a file. */
  | "not-a-vmm-file"
  /** It ends too early. */
  | "truncated"
  /** Its content contradicts itself, or breaks the format. */
  | "damaged"
  /** It was written in a way that cannot be read here. */
  | "unsupported"
  /** It has no state of the device that was asked for. */
  | "no-such-device"
  /** The device in it is of another kind than the one it was compared with. */
  | "identity";

/**
 * A file of a virtual machine monitor that cannot be read: what is wrong, and where.
 *
 * @example
 * ```ts
 * import { VmmFileError } from "vfiokit/vmm";
 * import assert from "node:assert/strict";
 *
 * const error = new VmmFileError("truncated", 4096, "it ends in section 2 (ram)");
 * assert.equal(error.message, "Cannot read the file: it ends in section 2 (ram) (at byte 4096)");
 * ```
 */
export class VmmFileError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `VmmFileError`. */
  override readonly name = "VmmFileError";
  /** What is wrong, as a code. */
  readonly code: VmmFileErrorCode;
  /** The offset in bytes where it shows; null if it concerns the whole file. */
  readonly offset: number | null;

  /** Makes the error; `what` is a clause without a final period. */
  constructor(code: VmmFileErrorCode, offset: number | null, what: string, hint?: string) {
    const where = offset === null ? "" : ` (at byte ${offset})`;
    super(printable(`Cannot read the file: ${what}${where}`), undefined, hint);
    this.code = code;
    this.offset = offset;
  }
}
