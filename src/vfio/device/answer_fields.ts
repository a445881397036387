/**
 * Checks of fields in the kernel's answers.
 */

import type { Fd } from "../../kernel/fd.ts";
import type { StructCodec } from "../../uapi/mod.ts";
import { AnswerError } from "./answer_error.ts";

/** A request that was answered, for messages. */
export interface AnsweredRequest {
  /** Its C name. */
  readonly name: string;
  /** What it was made on. */
  readonly fd: Fd;
}

/**
 * Checks that fields came back as they were sent. If one did not, the rest of the answer cannot be
 * trusted either.
 *
 * @throws {AnswerError} If a field differs: the first one.
 */
export function requireUnchanged<T>(
  codec: StructCodec<T>,
  fields: readonly (keyof T & string)[],
  { sent, answer }: { readonly sent: Uint8Array; readonly answer: Uint8Array },
  { name, fd }: AnsweredRequest,
): void {
  for (const { name: field, offset, size } of codec.fields) {
    if (!fields.includes(field as keyof T & string)) continue;
    const [before, after] = [sent, answer].map((bytes) => bytes.subarray(offset, offset + size));
    if (before!.every((byte, index) => byte === after![index])) continue;
    throw new AnswerError(
      `Cannot use the answer to ${name} of ${fd.label}: it changed ${field} from ` +
        `${littleEndian(before!)} to ${littleEndian(after!)}`,
      `${codec.name}.${field}`,
    );
  }
}

/**
 * Checks that the kernel unmapped no more than was requested.
 *
 * @param field The count's C name.
 * @throws {AnswerError} If it unmapped more.
 */
export function requireUnmapped(
  unmapped: bigint,
  size: bigint,
  field: string,
  { name, fd }: AnsweredRequest,
): void {
  if (unmapped <= size) return;
  throw new AnswerError(
    `Cannot use the answer to ${name} of ${fd.label}: ${unmapped} bytes unmapped in a range of ${size}`,
    field,
  );
}

function littleEndian(bytes: Uint8Array): string {
  const digits = [...bytes].reverse().map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `0x${BigInt(`0x${digits}`).toString(16)}`;
}
