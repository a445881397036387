/**
 * Blocks the whole thread, as a system call does.
 */

/** Blocks this thread for so many milliseconds. */
export function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
