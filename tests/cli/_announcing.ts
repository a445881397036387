/**
 * A script that reports on stderr when it waits for the reader of its stdout, for signals_test.ts:
 * SCRIPT is its address.
 */

import process from "node:process";
import { StdoutQueue } from "../../cli/output/stdout_queue.ts";

const { written } = StdoutQueue.prototype;
StdoutQueue.prototype.written = function (): Promise<void> {
  if (!this.empty) console.error("waits for the reader of stdout");
  return written.call(this);
};

await import(process.env["SCRIPT"]!);
