/**
 * Synchronous writes to a file of node:fs.
 */

import * as fs from "node:fs";
import { errnoOf } from "../errno_names.ts";

/** Writes all bytes at the position of a regular file's fd, on this thread. */
export function writeAllSync(fd: number, bytes: Uint8Array<ArrayBuffer>): void {
  for (let done = 0; done < bytes.byteLength;) {
    try {
      done += fs.writeSync(fd, bytes, done, bytes.byteLength - done);
    } catch (error) {
      if (errnoOf(error) !== "EINTR") throw error;
    }
  }
}
