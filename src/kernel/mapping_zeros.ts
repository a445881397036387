/**
 * Whether mapped memory is all zero.
 */

import { Buffer } from "node:buffer";
import type { Mapping } from "./kernel.ts";

/** Most bytes that are copied at a time to see whether they are zeros. */
const LOOK_BYTES = 4096;
/** What is copied first: most pages that are not all zero begin with something else. */
const FIRST_LOOK_BYTES = 64;
const LOOK: Uint8Array = new Uint8Array(LOOK_BYTES);
const ZEROS: Uint8Array = new Uint8Array(LOOK_BYTES);

/**
 * Whether there are but zeros in `length` bytes from `offset` of a mapping on, both multiples of 64.
 *
 * @throws {RangeError} As {@linkcode Mapping.read}.
 */
export function hasOnlyZeros(memory: Mapping, offset: number, length: number): boolean {
  return memory.isZero?.(offset, length) ?? copyIsZero(memory, offset, length);
}

/** Whether memory that can only be copied has but zeros. */
function copyIsZero(memory: Mapping, offset: number, length: number): boolean {
  let count = FIRST_LOOK_BYTES;
  for (let at = 0; at < length; at += count, count = Math.min(LOOK_BYTES, length - at)) {
    const copy = LOOK.subarray(0, count);
    memory.read(offset + at, copy);
    if (Buffer.compare(copy, ZEROS.subarray(0, count)) !== 0) return false;
  }
  return true;
}
