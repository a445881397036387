/**
 * The error for an answer of the kernel or a driver that cannot be true.
 *
 * @module
 */

import { VfiokitError } from "../../base/vfiokit_error.ts";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";

/**
 * An answer of the kernel or of a vendor driver that cannot be true, such as a length or an offset
 * out of bounds. The driver is at fault; the answer was not used.
 *
 * @example
 * ```ts
 * import { AnswerError } from "vfiokit/vfio";
 * import assert from "node:assert/strict";
 *
 * const message = "Cannot use region 9: it ends beyond 2^53";
 * assert.equal(new AnswerError(message, "vfio_region_info.offset").name, "AnswerError");
 * ```
 */
export class AnswerError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** The class's name. */
  override readonly name: string = "AnswerError";
  /** Always `broken-answer`. */
  readonly code = "broken-answer" as const;
  /**
   * What cannot be true, by its C name: `vfio_region_info.offset`; if it is no field of a
   * struct, what it is: `dirty bitmap`.
   */
  readonly field: string;

  /** Makes the error; `field` is what cannot be true. */
  constructor(message: string, field: string) {
    super(printable(message));
    this.field = field;
  }
}

/**
 * A u64 byte count as a number.
 *
 * @param what Whose count it is, for the message.
 * @param field The count's C name.
 * @throws {AnswerError} Beyond 2^53 - 1, where a number is no longer exact.
 */
export function byteCount(value: bigint, what: string, field: string): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new AnswerError(`Cannot use ${what}: 0x${value.toString(16)} bytes are beyond 2^53`, field);
}

/**
 * The smallest page size in a bitmap of page sizes, in bytes.
 *
 * @param pgsizes One bit a size, at least one.
 * @param what Whose pages they are, for the message.
 * @param field The bitmap's C name.
 * @throws {AnswerError} If that is 2^53 bytes or more, which no memory has.
 */
export function smallestPage(pgsizes: bigint, what: string, field: string): number {
  return byteCount(pgsizes & -pgsizes, `the page sizes of ${what}`, field);
}
