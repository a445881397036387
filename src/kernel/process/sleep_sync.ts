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
 * import { sleepSync } from "./sleep_sync.ts";
 * import assert from "node:assert/strict";
 *
 * const begun = performance.now();
 * sleepSync(20);
 * assert.ok(performance.now() - begun > 15);
 * ```
 */
export function sleepSync(milliseconds: number): void {
  Atomics.wait(still, 0, 0, milliseconds);
}
