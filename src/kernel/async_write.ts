/**
 * write(2) off the event loop.
 *
 * @module
 */

import * as fs from "node:fs";
import process from "node:process";
import { libc, libcAllowed } from "./_libc.ts";
import { libcPaths } from "./_symbols.ts";
import { SysError } from "./error.ts";

/** Calls write(2) in a thread; -1 where it failed, for a reason that stays in that thread. */
type ThreadedWrite = (fd: number, bytes: Uint8Array<ArrayBuffer>) => Promise<number>;

const TABLE = {
  write: { parameters: ["i32", "buffer", "usize"], result: "isize", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

let threaded: ThreadedWrite | null | undefined;

/** Deno's way; null where libc may not be called. */
function loadThreaded(): ThreadedWrite | null {
  if (!libcAllowed()) return null;
  for (const path of libcPaths(process.arch)) {
    try {
      const { symbols } = Deno.dlopen(path, TABLE);
      return async (fd, bytes) => Number(await symbols.write(fd, bytes, BigInt(bytes.byteLength)));
    } catch {
      // The next path.
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
 * Writes some bytes where the fd stands, without stopping the event loop;
 * returns how many were written. `bytes` must stay as they are until then.
 *
 * Deno's node:fs does its asynchronous writes on the calling thread, so there
 * this goes through libc; without `--allow-ffi` it is node:fs after all, and a
 * pipe that is full stops the event loop.
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
  // errno is the other thread's. What failed there fails here, at once and with its reason.
  const result = libc().write(fd, bytes);
  if (result < 0) throw new SysError("write", -result, `fd ${fd}`);
  return result;
}
