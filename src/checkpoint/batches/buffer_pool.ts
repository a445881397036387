/**
 * Buffers of a MiB that go round instead of being made anew.
 *
 * A save or restore of any size then holds a handful of them. Taking part is
 * never needed: a buffer that nobody gives back is the collector's.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** The size of a batch's buffer, in bytes: 1 MiB. */
export const BATCH_BYTES = 1 << 20;

/** More idle buffers than this are left to the collector. */
const MAX_IDLE = 16;

const idle: ArrayBuffer[] = [];
const known = new WeakSet<ArrayBuffer>();

/**
 * A buffer of {@linkcode BATCH_BYTES}, with whatever it last held.
 *
 * @example
 * ```ts
 * import { BATCH_BYTES, recycle, takeBuffer } from "./buffer_pool.ts";
 * import assert from "node:assert/strict";
 *
 * const buffer = takeBuffer();
 * assert.equal(buffer.length, BATCH_BYTES);
 * recycle(buffer.buffer);
 * assert.equal(takeBuffer().buffer, buffer.buffer);
 * ```
 */
export function takeBuffer(): Uint8Array<ArrayBuffer> {
  // Not zeroed first, which Bun can do: that takes as long as to fill it.
  const buffer = idle.pop() ?? Buffer.allocUnsafeSlow(BATCH_BYTES).buffer;
  known.add(buffer);
  return new Uint8Array(buffer);
}

/**
 * Gives a buffer back that came from {@linkcode takeBuffer}, or from a stream
 * of this toolkit. Its views must not be used after that. Any other buffer is
 * left alone.
 */
export function recycle(buffer: ArrayBuffer): void {
  if (!known.has(buffer)) return;
  known.delete(buffer);
  // A detached buffer has length 0: its memory has gone to another thread.
  if (buffer.byteLength === BATCH_BYTES && idle.length < MAX_IDLE) idle.push(buffer);
}

/** Whether a buffer is one of the pool's, so that it may be handed on. */
export function isPooled(buffer: ArrayBuffer): boolean {
  return known.has(buffer);
}

/** Takes a buffer in that came back from another thread. */
export function adoptBuffer(buffer: ArrayBuffer): void {
  if (buffer.byteLength === BATCH_BYTES) known.add(buffer);
}
