/**
 * What a driver answered and cannot be true.
 *
 * @module
 */

/**
 * An answer of the kernel or of a vendor driver that cannot be true: a length
 * or an offset that reaches nowhere. The driver is at fault; nothing was done
 * with the answer.
 *
 * @example
 * ```ts
 * import { AnswerError } from "./answer_error.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(new AnswerError("Cannot use region 9: it ends beyond 2^53").name, "AnswerError");
 * ```
 */
export class AnswerError extends Error {
  /** The class's name. */
  override readonly name: string = "AnswerError";
}

/**
 * A u64 byte count as a number.
 *
 * @param what Whose count it is, for the message.
 * @throws {AnswerError} Beyond 2^53 - 1, where a number is no longer exact.
 */
export function byteCount(value: bigint, what: string): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new AnswerError(`Cannot use ${what}: 0x${value.toString(16)} bytes are beyond 2^53`);
}
