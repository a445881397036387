/**
 * Asynchronous reads and writes of an fd that node:fs knows.
 */

import * as fs from "node:fs";
import { asyncWrite } from "../../kernel/process/async_write.ts";
import { errnoOf } from "../../kernel/errno_names.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The longest wait between two tries on an fd that is not ready, in ms. */
const MAX_WAIT_MS = 50;

/**
 * Repeats a call until the answer is not EAGAIN: an inherited fd may be nonblocking, and a
 * synchronous poll would block the event loop.
 */
async function whenReady(call: () => Promise<number>): Promise<number> {
  for (let wait = 1;; wait = Math.min(2 * wait, MAX_WAIT_MS)) {
    try {
      return await call();
    } catch (error) {
      if (errnoOf(error) === "EINTR") continue;
      if (errnoOf(error) !== "EAGAIN") throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

/** Writes all bytes at the fd's position. */
export async function writeAll(fd: number, bytes: Bytes): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    const rest = done === 0 ? bytes : bytes.subarray(done);
    done += await whenReady(() => asyncWrite(fd, rest));
  }
}

/** Reads some bytes, at `position` or at the fd's position; 0 at the end. */
export function readSome(fd: number, into: Bytes, position: number | null): Promise<number> {
  return whenReady(() =>
    new Promise((resolve, reject) => {
      fs.read(fd, into, 0, into.byteLength, position, (error, count) => {
        if (error) reject(error);
        else resolve(count);
      });
    })
  );
}

/** Reads some bytes of a regular file at `position`, on this thread; 0 at the end. */
export function readNow(fd: number, into: Bytes, position: number): number {
  for (;;) {
    try {
      return fs.readSync(fd, into, 0, into.byteLength, position);
    } catch (error) {
      if (errnoOf(error) !== "EINTR") throw error;
    }
  }
}

/** fsync(2); a file that cannot be synced (a pipe, /dev/null) counts as synced. */
export async function sync(fd: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      fs.fsync(fd, (error) => error ? reject(error) : resolve());
    });
  } catch (error) {
    if (!["EINVAL", "EOPNOTSUPP", "EROFS"].includes(errnoOf(error) ?? "")) throw error;
  }
}

/** open(2), in a thread where it may block: a fifo waits for its other end. */
export function open(path: string, flags: number, mode?: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, mode ?? 0, (error, fd) => error ? reject(error) : resolve(fd));
  });
}

/** close(2). */
export function close(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.close(fd, (error) => error ? reject(error) : resolve());
  });
}
