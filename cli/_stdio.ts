/**
 * Text to stdout and stderr, at once: nothing is lost when the process exits,
 * and a reader that went away is no error of ours.
 *
 * @module
 */

import { writeSync } from "node:fs";

/** stdout. */
export const STDOUT = 1;
/** stderr. */
export const STDERR = 2;

/** How long to wait for a reader that is behind, in milliseconds. */
const EAGAIN_MS = 5;

const gone = new Set<number>();

/** Whether nobody reads any more what is written there, as far as a write has shown it. */
export function readerGone(fd: typeof STDOUT | typeof STDERR): boolean {
  return gone.has(fd);
}

/** Writes text to stdout or stderr; nothing where its reader is gone. */
export function writeText(fd: typeof STDOUT | typeof STDERR, text: string): void {
  writeBytes(fd, new TextEncoder().encode(text));
}

/** Writes bytes to stdout or stderr; nothing where its reader is gone. */
export function writeBytes(fd: typeof STDOUT | typeof STDERR, bytes: Uint8Array): void {
  if (gone.has(fd)) return;
  let rest = bytes;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      if (codeOf(error) === "EAGAIN") {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, EAGAIN_MS);
      } else if (codeOf(error) === "EPIPE") {
        gone.add(fd);
        return;
      } else {
        throw error;
      }
    }
  }
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}
