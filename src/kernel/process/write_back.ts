/**
 * Starts to write a file to disk while more of it is still to come.
 *
 * @module
 */

import { libc } from "../libc/calls_with_errno.ts";

/** sync_file_range(2): start to write dirty pages, without waiting (linux/fs.h). */
const SYNC_FILE_RANGE_WRITE = 2;

/**
 * Makes the kernel start to write a part of a file to disk, without waiting until
 * it is written. A later fsync then has less to do. The call may wait for a place
 * in the disk's queue, so use it on a thread that may block.
 *
 * @param fd A file that is open for writing.
 * @param offset Where the part begins, in bytes.
 * @param length Its length in bytes.
 * @returns Whether the kernel started; false for a pipe, and for anything else that is not on a disk.
 *
 * @example
 * ```ts
 * import { startWriteBack } from "./write_back.ts";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const folder = fs.mkdtempSync("/tmp/vfiokit-");
 * const fd = fs.openSync(`${folder}/a`, "w");
 * fs.writeSync(fd, new Uint8Array(1000));
 * assert.equal(startWriteBack(fd, 0, 1000), true);
 * fs.closeSync(fd);
 * fs.rmSync(folder, { recursive: true });
 * ```
 */
export function startWriteBack(fd: number, offset: number, length: number): boolean {
  return libc().syncFileRange(fd, offset, length, SYNC_FILE_RANGE_WRITE) === 0;
}
