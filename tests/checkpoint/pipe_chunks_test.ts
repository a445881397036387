import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers";
import { BATCH_BYTES } from "../../src/checkpoint/batches/buffer_pool.ts";
import { PipeChunks, type PipeReads } from "../../src/checkpoint/source/pipe_chunks.ts";
import { bytesOf } from "./_tools.ts";

const CONTENT = bytesOf(3_000_000).map((_, index) => index * 7919 >>> 5);

/** A pipe that holds `there` bytes at a time, and gets more while it is waited for. */
class TestPipe implements PipeReads {
  there = 0;
  /** What it gets. */
  fill = 64 << 10;
  waits = 0;
  /** What its clock shows, and how long each read takes. */
  time = 0;
  ms = 0;
  #position = 0;

  now(into: Uint8Array): number | null {
    this.time += this.ms;
    if (this.#position === CONTENT.length) return 0;
    if (this.there === 0) return null;
    const part = CONTENT.subarray(this.#position, this.#position + this.there);
    const given = part.subarray(0, into.length);
    into.set(given);
    this.#position += given.length;
    this.there -= given.length;
    return given.length;
  }

  later(into: Uint8Array): Promise<number> {
    this.waits += 1;
    this.there = Math.min(this.fill, CONTENT.length - this.#position);
    return Promise.resolve(this.now(into)!);
  }
}

const chunksOf = (pipe: TestPipe): PipeChunks => new PipeChunks(pipe, () => pipe.time);

describe("the chunks of a pipe", () => {
  it("are all of it, in order, several in a buffer", async () => {
    const pipe = new TestPipe();
    const chunks = chunksOf(pipe);
    const all: Uint8Array[] = [];
    for (let next = await chunks.next(); next !== null; next = await chunks.next()) all.push(next);
    assert.ok(Buffer.from(bytesOf(...all)).equals(CONTENT));
    assert.equal(all[0]!.buffer, all[1]!.buffer);
    assert.ok(new Set(all.map(({ buffer }) => buffer)).size > 2);
  });

  it("can be read into memory of the reader's", async () => {
    const pipe = new TestPipe();
    const chunks = chunksOf(pipe);
    const into = bytesOf(CONTENT.length);
    for (let at = 0, turn = 0; at < into.length; turn++) {
      const count = await chunks.read(into.subarray(at, at + [32, 5000, BATCH_BYTES][turn % 3]!));
      assert.ok(count > 0);
      at += count;
    }
    assert.equal(await chunks.read(bytesOf(1)), 0);
    assert.ok(Buffer.from(into).equals(CONTENT));
  });

  it("are waited for only if the pipe is empty", async () => {
    const pipe = new TestPipe();
    pipe.fill = BATCH_BYTES;
    const chunks = chunksOf(pipe);
    while (await chunks.read(bytesOf(100_000)) > 0);
    assert.equal(pipe.waits, Math.ceil(CONTENT.length / BATCH_BYTES));
  });

  it("leave the event loop its turn", async () => {
    const pipe = new TestPipe();
    pipe.there = CONTENT.length;
    pipe.ms = 3;
    const chunks = chunksOf(pipe);
    let turned = false;
    setImmediate(() => turned = true);
    for (const expected of [false, false, true]) {
      await chunks.read(bytesOf(100));
      assert.equal(turned, expected);
    }
  });
});
