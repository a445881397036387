import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { afterEach, beforeEach, it } from "node:test";
import { isPooled } from "../../src/checkpoint/batches/buffer_pool.ts";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import type { CheckpointFileError } from "../../src/checkpoint/file/file_error.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";
import { verifyCheckpoint } from "../../src/checkpoint/verify.ts";
import { bytesOf, encode, transaction } from "./_tools.ts";

let folder = "";

beforeEach(() => {
  folder = fs.mkdtempSync("/tmp/vfiokit-source-");
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

async function content(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  return Buffer.from(bytesOf(...(await Array.fromAsync(stream))));
}

it("a regular file is read from its start, as often as one likes", async () => {
  const bytes = bytesOf(3_000_000).map((_, index) => index * 7919 >>> 5);
  fs.writeFileSync(`${folder}/a`, bytes);
  fs.symlinkSync("a", `${folder}/link`);
  await using source = await openCheckpointFile(`${folder}/link`);
  assert.deepEqual([source.seekable, source.size], [true, 3_000_000]);
  assert.ok((await content(source.stream())).equals(bytes));
  const cut = source.stream().getReader();
  await cut.read();
  await cut.cancel();
  assert.ok((await content(source.stream())).equals(bytes));
  await source.close();
  await source.close();
  await assert.rejects(
    content(source.stream()),
    (error: CheckpointFileError) => error.code === "EBADF" && error.message.includes("/link"),
  );
});

it("a fifo is read once", async () => {
  execFileSync("mkfifo", [`${folder}/fifo`]);
  const bytes = encode([transaction(200_000)]);
  const written = createCheckpointFile(`${folder}/fifo`).then(async (file) => {
    await file.write(bytes);
    await file.commit();
  });
  await using source = await openCheckpointFile(`${folder}/fifo`);
  assert.deepEqual([source.seekable, source.size], [false, null]);
  const { trailer } = await verifyCheckpoint(source);
  assert.equal(trailer.bytes, 200_000);
  await written;
  assert.throws(() => source.stream(), /it is no regular file/);
});

it("an empty file is no checkpoint", async () => {
  fs.writeFileSync(`${folder}/a`, "");
  for (const path of [`${folder}/a`, "/dev/null"]) {
    await using source = await openCheckpointFile(path);
    await assert.rejects(verifyCheckpoint(source.stream()), /it is empty/);
  }
});

it("what cannot be read is reported, by name", async () => {
  for (const [name, code] of [["missing", "ENOENT"], ["", "EISDIR"]] as const) {
    await assert.rejects(
      openCheckpointFile(`${folder}/${name}`),
      (error: CheckpointFileError) => error.code === code && error.message.includes(folder),
    );
  }
});

it("a summary says what is in a checkpoint", async () => {
  let micros = 0;
  const bytes = encode([
    transaction(crypto.getRandomValues(new Uint8Array(100)), "pre-copy"),
    transaction(1000, "pre-copy"),
    transaction("the first ", "pre-copy", true),
    transaction("and the other twenty", "pre-copy"),
    transaction(0),
    transaction(70_000),
  ], { compress: "zstd", digest: "sha256", elapsed: () => micros += 1_500_000 });
  fs.writeFileSync(`${folder}/a`, bytes);
  await using source = await openCheckpointFile(`${folder}/a`);
  const summary = await verifyCheckpoint(source);
  assert.equal(summary.version, 1);
  assert.equal(summary.storedBytes, bytes.length);
  assert.equal(summary.header.tool, "test 1.2.3");
  assert.equal(summary.header.digest, "sha256");
  assert.equal(summary.trailer.bytes, 71_130);
  assert.deepEqual(summary.frames, { data: 6, compressed: 2, skipped: 0 });
  assert.deepEqual(summary.phases, [
    {
      device: 0,
      phase: "pre-copy",
      transactions: 3,
      bytes: 1130,
      smallest: 30,
      largest: 1000,
      seconds: 6,
    },
    {
      device: 0,
      phase: "stop-and-copy",
      transactions: 2,
      bytes: 70_000,
      smallest: 0,
      largest: 70_000,
      seconds: 3,
    },
  ]);
});

it("a source's buffers are reused if verify opens its stream, and nobody else has them", async () => {
  fs.writeFileSync(`${folder}/a`, encode([transaction(3 << 20)]));
  await using source = await openCheckpointFile(`${folder}/a`);
  const verified = async (opened: boolean): Promise<boolean> => {
    const seen: ArrayBuffer[] = [];
    const stream = (): ReadableStream<Uint8Array<ArrayBuffer>> =>
      source.stream().pipeThrough(
        new TransformStream({
          transform(chunk, controller): void {
            seen.push(chunk.buffer);
            controller.enqueue(chunk);
          },
        }),
      );
    await verifyCheckpoint(opened ? stream() : { stream });
    return seen.some((buffer) => isPooled(buffer));
  };
  assert.equal(await verified(true), true);
  assert.equal(await verified(false), false);
});
