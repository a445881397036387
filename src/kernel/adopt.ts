/**
 * A raw fd made usable by node:fs.
 *
 * @module
 */

import * as fs from "node:fs";
import { SysError } from "./error.ts";
import { O_CLOEXEC } from "./kernel.ts";
import { libc } from "./_libc.ts";

/**
 * Puts an open file behind an fd number that node:fs opened, so that its
 * asynchronous reads and writes work on it: Deno's node:fs refuses a number
 * it did not open itself. The given fd stays open, and the caller's; the
 * returned one is closed with `fs.close`.
 *
 * Needs `--allow-ffi` and read access to /dev/null, which Deno grants.
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
