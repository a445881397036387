/**
 * write(2) off the event loop.
 *
 * @module
 */

import * as fs from "node:fs";
import process from "node:process";
import { libc, libcAllowed } from "../libc/calls_with_errno.ts";
import { libcPaths } from "../libc/symbols.ts";
import { SysError } from "../sys_error.ts";

/** Calls write(2) on another thread; -1 if it failed, with an errno that only that thread sees. */
type ThreadedWrite = (fd: number, bytes: Uint8Array<ArrayBuffer>) => Promise<number>;

const TABLE = {
  write: { parameters: ["i32", "buffer", "usize"], result: "isize", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

let threaded: ThreadedWrite | null | undefined;

/** The implementation for Deno; null if libc may not be called. */
function loadThreaded(): ThreadedWrite | null {
  if (!libcAllowed()) return null;
  for (const path of libcPaths(process.arch)) {
    try {
      const { symbols } = Deno.dlopen(path, TABLE);
      return async (fd, bytes) => Number(await symbols.write(fd, bytes, BigInt(bytes.byteLength)));
    } catch {
      // Try the next path.
    }
  }
  return null;
}

function writeByNode(fd: number, bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(fd, bytes, 0, bytes.byteLength, null, (error, count) => {
      if (error) reject(error);
      else resolve(count);
    });
  });
}

/**
 * Writes bytes at the fd's current position without blocking the event loop, and
 * returns how many were written. `bytes` must not change until then.
 *
 * Deno's node:fs does its asynchronous writes on the calling thread, so in Deno
 * this function calls libc instead. Without `--allow-ffi` it falls back to
 * node:fs, and a full pipe blocks the event loop.
 *
 * @throws {Error} With the errno's name as `code`.
 *
 * @example
 * ```ts
 * import { asyncWrite } from "./async_write.ts";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const fd = fs.openSync("/dev/null", "w");
 * assert.equal(await asyncWrite(fd, new Uint8Array(5)), 5);
 * fs.closeSync(fd);
 * ```
 */
export async function asyncWrite(fd: number, bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  if (!("Deno" in globalThis)) return await writeByNode(fd, bytes);
  threaded ??= loadThreaded();
  if (threaded === null) return await writeByNode(fd, bytes);
  const count = await threaded(fd, bytes);
  if (count >= 0) return count;
  // errno belongs to the other thread. Write again on this thread to get the reason.
  const result = libc().write(fd, bytes);
  if (result < 0) throw new SysError("write", -result, `fd ${fd}`);
  return result;
}
