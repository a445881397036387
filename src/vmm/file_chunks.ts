/**
 * A file's bytes in chunks that stay in the processor's cache: what is only walked past is read as
 * fast as it can be copied.
 *
 * @module
 */

import * as fs from "node:fs";
import { setImmediate } from "node:timers/promises";
import { promisify } from "node:util";

/** As much as most processors have of a cache by itself. */
const CHUNK = 256 << 10;

/** A read that takes longer than this, in milliseconds, has waited for the disk. */
const SLOW_MS = 5;

/** After so many milliseconds of reading on this thread the event loop has its turn. */
const TURN_MS = 4;

/**
 * Reads a regular file from its start. Each chunk is good until the next one is asked for: all of
 * them lie in one buffer.
 *
 * @param fd The file; its position is neither used nor changed.
 * @throws The error of the file system, with its `code`.
 */
export async function* fileChunks(fd: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(CHUNK);
  const later = promisify(fs.read);
  let slow = false;
  let turn = performance.now();
  for (let position = 0;;) {
    const begun = performance.now();
    if (!slow && begun - turn > TURN_MS) {
      await setImmediate();
      turn = performance.now();
    }
    // What is in memory is read at once: to wake another thread takes as long as the copy.
    const count = slow
      ? (await later(fd, buffer, 0, CHUNK, position)).bytesRead
      : fs.readSync(fd, buffer, 0, CHUNK, position);
    if (count === 0) return;
    slow = slow || performance.now() - begun > SLOW_MS;
    position += count;
    yield buffer.subarray(0, count);
  }
}
