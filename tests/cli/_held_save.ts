/**
 * The command line, for read_back_test.ts: a save stops where HELD_AT says, reports that on stderr,
 * and goes on at SIGUSR2, or once it is interrupted. So a test can do something in between, however
 * fast or slow the machine is.
 */

import process from "node:process";
import { FileReadBack } from "../../src/checkpoint/file/_file_read_back.ts";
import { CheckpointWriter } from "../../src/checkpoint/file/_checkpoint_writer.ts";
import { OpenSource } from "../../src/checkpoint/file/_open_source.ts";
import type { HeldAt } from "./_hold.ts";

const heldAt = process.env["HELD_AT"] as HeldAt;
const goOn = Promise.withResolvers<void>();
process.once("SIGUSR2", () => goOn.resolve());

async function hold(here: HeldAt): Promise<void> {
  if (here !== heldAt) return;
  console.error(`held ${heldAt}`);
  await goOn.promise;
}

const { run } = FileReadBack.prototype;
FileReadBack.prototype.run = function (moved, signal): ReturnType<typeof run> {
  signal?.addEventListener("abort", () => goOn.resolve());
  return run.call(this, moved, signal);
};

const { stream } = OpenSource.prototype;
OpenSource.prototype.stream = function (): ReturnType<typeof stream> {
  return ReadableStream.from(held(stream.call(this)));
};

async function* held(chunks: ReturnType<typeof stream>): ReturnType<typeof chunks.values> {
  await hold("before the reading back");
  for await (const chunk of chunks) {
    yield chunk;
    // The reader has taken the chunk, and asks for the next one.
    await hold("after the first chunk");
  }
}

const { commit } = CheckpointWriter.prototype;
CheckpointWriter.prototype.commit = async function (): Promise<void> {
  await hold("before the commit");
  await commit.call(this);
};

await import("../../cli/main.ts");
