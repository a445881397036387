/**
 * The thread of a device of the benchmark's: of the kind that a device gets by itself.
 */

import { type AnyWorker, startWorker as start } from "../../src/base/thread.ts";

/** Starts a Worker from a file beside this one. */
export function startWorker(name: string): AnyWorker {
  return start(new URL(name, import.meta.url));
}
