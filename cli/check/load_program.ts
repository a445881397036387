/**
 * The program that keeps a device busy while it is checked.
 *
 * @module
 */

import type { CheckedDevice } from "../../src/check/mod.ts";
import type { Context } from "../context.ts";
import { startProgram } from "../lending/run_program.ts";
import { DataFdSocketPairs } from "../lending/data_fd_sockets.ts";
import { UsageError } from "../usage_error.ts";

/** How long the program gets to begin its work, in milliseconds. */
const START_MS = 300;

/**
 * Starts the program; disposing of the answer ends it.
 *
 * @throws {UsageError} If it cannot be run.
 */
export async function startLoad(
  words: readonly string[],
  { label, fds, protocol }: CheckedDevice,
  context: Context,
): Promise<AsyncDisposable> {
  const sockets = new DataFdSocketPairs();
  const { ioas, ...rest } = fds;
  const lent = { name: label, fds: rest, ioas, protocol };
  const child = startProgram(words, { devices: [lent] }, sockets, ["ignore", 2, 2]);
  if (typeof child === "number") {
    sockets[Symbol.dispose]();
    throw new UsageError(`Cannot keep ${label} busy: ${words[0]} cannot be run`);
  }
  let ended = false;
  const exit = new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", (code) => {
      if (!ended) context.note(`vfiokit check: the load ended by itself, exit code ${code}`);
      resolve();
    });
  });
  await new Promise((resolve) => setTimeout(resolve, START_MS));
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      ended = true;
      child.kill("SIGTERM");
      await exit;
      sockets[Symbol.dispose]();
    },
  };
}
