/**
 * Makes a raw fd usable by node:fs.
 *
 * @module
 */

import * as fs from "node:fs";
import { SysError } from "../sys_error.ts";
import { O_CLOEXEC } from "../kernel.ts";
import { libc } from "../libc/calls_with_errno.ts";

/**
 * Duplicates an fd onto a number that node:fs opened, so that the asynchronous
 * reads and writes of node:fs work on it. Deno's node:fs refuses a number that it
 * did not open itself. The given fd stays open and still belongs to the caller;
 * close the returned one with `fs.close`.
 *
 * Needs `--allow-ffi` and read access to /dev/null, which Deno grants by default.
 *
 * @throws {SysError} If the fd is not open.
 *
 * @example
 * ```ts ignore
 * const fd = adoptFd(3);
 * fs.write(fd, bytes, callback);
 * ```
 */
export function adoptFd(fd: number): number {
  const adopted = fs.openSync("/dev/null", "r+");
  const result = libc().dup3(fd, adopted, O_CLOEXEC);
  if (result < 0) {
    fs.closeSync(adopted);
    throw new SysError("dup3", -result, `fd ${fd}`);
  }
  return adopted;
}
