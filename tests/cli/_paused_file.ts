/**
 * The command line, for progress_test.ts: after its first chunk, a file gives nothing for longer
 * than progress takes to be drawn, as a line or as text. Both are timers of one thread, and fire in
 * the order in which they are due, however slow the machine is.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { OpenSource } from "../../src/checkpoint/file/_open_source.ts";

const PAUSE_MS = 1100;

const { stream } = OpenSource.prototype;
OpenSource.prototype.stream = function (): ReturnType<typeof stream> {
  return ReadableStream.from(paused(stream.call(this)));
};

async function* paused(chunks: ReturnType<typeof stream>): ReturnType<typeof chunks.values> {
  let first = true;
  for await (const chunk of chunks) {
    yield chunk;
    // The reader has taken the chunk, and asks for the next one.
    if (first) await sleep(PAUSE_MS);
    first = false;
  }
}

await import("../../cli/main.ts");
