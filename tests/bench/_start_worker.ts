/**
 * The thread of a device of the benchmark's: of the kind that a device gets by itself.
 */

import { Worker as NodeWorker } from "node:worker_threads";

/** Starts a Worker from a file beside this one. */
export function startWorker(name: string): Worker | NodeWorker {
  const url = new URL(name, import.meta.url);
  return "Deno" in globalThis ? new NodeWorker(url) : new Worker(url, { type: "module" });
}
