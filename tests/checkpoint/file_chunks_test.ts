import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers";
import { BATCH_BYTES, recycle } from "../../src/checkpoint/batches/buffer_pool.ts";
import { FileChunks, type FileReads } from "../../src/checkpoint/source/file_chunks.ts";

const SIZE = 6 * BATCH_BYTES + 1000;

/** Each 500th byte of the file is marked; where the first of those from a position on lies. */
const firstMark = (position: number): number => (500 - position % 500) % 500;

/** A file whose bytes tell where they are, and what was asked of it. */
class TestFile implements FileReads {
  readonly nowAt: number[] = [];
  readonly laterAt: number[] = [];
  underWay = 0;
  mostUnderWay = 0;
  /** How long a read on this thread takes, in milliseconds. */
  ms = 0;
  /** What its clock shows. */
  time = 0;
  /** The most bytes that a read gives. */
  most = BATCH_BYTES;
  /** Where a read fails. */
  failsAt = -1;

  #fill(into: Uint8Array, position: number): number {
    if (position === this.failsAt) throw new Error(`EIO at ${position}`);
    const count = Math.max(0, Math.min(into.length, this.most, SIZE - position));
    for (let at = firstMark(position); at < count; at += 500) into[at] = (position + at) / 500;
    return count;
  }

  now(into: Uint8Array, position: number): number {
    this.nowAt.push(position);
    this.time += this.ms;
    return this.#fill(into, position);
  }

  async later(into: Uint8Array, position: number): Promise<number> {
    this.laterAt.push(position);
    this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay);
    await new Promise((resolve) => setTimeout(resolve, 1));
    this.underWay -= 1;
    return this.#fill(into, position);
  }
}

function chunksOf(file: TestFile): FileChunks {
  return new FileChunks(file, SIZE, () => file.time);
}

/** Checks bytes that come from a position. */
function check(bytes: Uint8Array, position: number): void {
  for (let at = firstMark(position); at < bytes.length; at += 500) {
    assert.equal(bytes[at], ((position + at) / 500) & 0xff, `byte ${position + at}`);
  }
}

/** Reads to the end, and checks that each byte comes once and in order. */
async function readAll(chunks: FileChunks): Promise<number> {
  let position = 0;
  for (;;) {
    const chunk = await chunks.next();
    if (chunk === null) return position;
    check(chunk, position);
    position += chunk.length;
    recycle(chunk.buffer);
  }
}

/** The same into memory of the reader's, of several sizes. */
async function readAllInto(chunks: FileChunks): Promise<number> {
  for (let position = 0, turn = 0;; turn++) {
    const into = new Uint8Array(new ArrayBuffer([32, 1021, BATCH_BYTES, 70_000][turn % 4]!));
    const count = await chunks.read(into);
    if (count === 0) return position;
    check(into.subarray(0, count), position);
    position += count;
  }
}

describe("the chunks of a file", () => {
  it("are read on this thread while that is quick", async () => {
    const file = new TestFile();
    assert.equal(await readAll(chunksOf(file)), SIZE);
    assert.equal(file.nowAt.length, 8);
    assert.deepEqual(file.laterAt, []);
  });

  it("leave the event loop its turn", async () => {
    const file = new TestFile();
    file.ms = 3;
    const chunks = chunksOf(file);
    let turned = false;
    setImmediate(() => turned = true);
    for (const expected of [false, false, true]) {
      recycle((await chunks.next())!.buffer);
      assert.equal(turned, expected);
    }
  });

  it("are read on other threads once a read is slow, several at a time", async () => {
    const file = new TestFile();
    file.ms = 20;
    assert.equal(await readAll(chunksOf(file)), SIZE);
    assert.deepEqual(file.nowAt, [0]);
    assert.equal(file.mostUnderWay, 3);
    const behind = file.laterAt.filter((position) => position >= SIZE);
    assert.deepEqual(behind, [SIZE]);
  });

  it("are whole though a read gives less than was asked for", async () => {
    const file = new TestFile();
    file.ms = 20;
    file.most = BATCH_BYTES / 2 + 500 - (BATCH_BYTES / 2 % 500);
    assert.equal(await readAll(chunksOf(file)), SIZE);
    assert.equal(file.underWay, 0);
  });

  it("can be read into memory of the reader's, which is all that is read then", async () => {
    const file = new TestFile();
    assert.equal(await readAllInto(chunksOf(file)), SIZE);
    assert.deepEqual(file.laterAt, []);
  });

  it("are copied there once a read was slow, and read ahead as before", async () => {
    const file = new TestFile();
    file.ms = 20;
    assert.equal(await readAllInto(chunksOf(file)), SIZE);
    assert.deepEqual(file.nowAt, [0]);
    assert.equal(file.mostUnderWay, 3);
  });

  it("come up to the read that fails", async () => {
    const file = new TestFile();
    file.ms = 20;
    file.failsAt = 3 * BATCH_BYTES;
    const chunks = chunksOf(file);
    for (let count = 0; count < 3; count++) recycle((await chunks.next())!.buffer);
    await assert.rejects(chunks.next(), /EIO at 3145728/);
    await chunks.settle();
    assert.equal(file.underWay, 0);
  });
});
