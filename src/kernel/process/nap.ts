/**
 * Sleeping on a thread that may block.
 *
 * @module
 */

const still = new Int32Array(new SharedArrayBuffer(4));

/**
 * Blocks the calling thread.
 *
 * @param milliseconds How long to block.
 *
 * @example
 * ```ts
 * import { nap } from "./nap.ts";
 * import assert from "node:assert/strict";
 *
 * const begun = performance.now();
 * nap(20);
 * assert.ok(performance.now() - begun > 15);
 * ```
 */
export function nap(milliseconds: number): void {
  Atomics.wait(still, 0, 0, milliseconds);
}
