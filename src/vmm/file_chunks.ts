/**
 * A file's bytes in chunks that stay in the processor's cache: what is only walked past is read as
 * fast as it can be copied.
 *
 * @module
 */

import * as fs from "node:fs";
import { promisify } from "node:util";
import { FileChunks } from "../checkpoint/source/file_chunks.ts";

/** As much as most processors have of a cache by itself. */
const CHUNK = 256 << 10;

const readLater = promisify(fs.read);

/**
 * Reads a regular file from its start. Each chunk is good until the next one is asked for: all of
 * them lie in one buffer.
 *
 * @param fd The file; its position is neither used nor changed.
 * @throws The error of the file system, with its `code`.
 */
export async function* fileChunks(fd: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(CHUNK);
  const chunks = new FileChunks({
    now: (into, position) => fs.readSync(fd, into, 0, into.length, position),
    later: async (into, position) =>
      (await readLater(fd, into, 0, into.length, position)).bytesRead,
  }, fs.fstatSync(fd).size);
  try {
    for (let count: number; (count = await chunks.read(buffer)) > 0;) {
      yield buffer.subarray(0, count);
    }
  } finally {
    // The fd may be closed once this has ended.
    await chunks.settle();
  }
}
