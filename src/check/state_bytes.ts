/**
 * Comparing and changing the bytes of a state.
 *
 * @module
 */

import type { Stream } from "./v2/v2_device.ts";

/** All bytes of a stream in one array. */
export function joined({ chunks, bytes }: Stream): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** A stream of these bytes. */
export function streamOf(...chunks: readonly Uint8Array<ArrayBuffer>[]): Stream {
  return { chunks, bytes: chunks.reduce((sum, { length }) => sum + length, 0) };
}

/**
 * How two streams differ, in words; null if they are equal.
 *
 * @example
 * ```ts
 * import { difference, streamOf } from "./state_bytes.ts";
 * import assert from "node:assert/strict";
 *
 * const [one, other] = [new Uint8Array([1, 2]), new Uint8Array([1, 3])];
 * assert.equal(difference(streamOf(one), streamOf(one)), null);
 * assert.equal(difference(streamOf(one), streamOf(other)), "byte 1 is 0x02, then 0x03");
 * ```
 */
export function difference(first: Stream, second: Stream): string | null {
  if (first.bytes !== second.bytes) return `${first.bytes} bytes, then ${second.bytes}`;
  const [one, other] = [joined(first), joined(second)];
  const at = one.findIndex((byte, index) => byte !== other[index]);
  if (at < 0) return null;
  return `byte ${at} is ${hex(one[at]!)}, then ${hex(other[at]!)}`;
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}

/** Bytes that no driver wrote, the same each time. */
export function foreignBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let random = 0x2545f491;
  for (let at = 0; at < length; at += 1) {
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    bytes[at] = random;
  }
  return bytes;
}
