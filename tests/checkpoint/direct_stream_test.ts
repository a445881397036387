import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CheckpointError } from "../../src/checkpoint/checkpoint_error.ts";
import { decodeCheckpoint } from "../../src/checkpoint/format/decode.ts";
import { type ByteReads, DirectStream } from "../../src/checkpoint/source/direct_stream.ts";
import { type Bytes, bytesOf, encode, transaction, whole } from "./_tools.ts";

const TRANSACTIONS = [transaction(3_000_000), transaction(0), transaction(70_000)];
const CHECKPOINT = encode(TRANSACTIONS);

/** Reads of bytes in memory, counted. */
class TestReads implements ByteReads {
  chunks = 0;
  settled = 0;
  largest = 0;
  /** The most bytes that a read gives. */
  most = 100_000;
  /** From here on, a read fails. */
  failsAt = Infinity;
  /** From here on, a read waits for this. */
  stopsAt = Infinity;
  more: Promise<void> = Promise.resolve();
  readonly #bytes: Bytes;
  #position = 0;

  constructor(bytes: Bytes = CHECKPOINT) {
    this.#bytes = bytes;
  }

  async next(): Promise<Bytes | null> {
    const chunk = bytesOf(1000);
    const count = await this.read(chunk);
    this.chunks += 1;
    return count === 0 ? null : chunk.subarray(0, count);
  }

  async read(into: Bytes): Promise<number> {
    if (this.#position >= this.stopsAt) await this.more;
    if (this.#position >= this.failsAt) throw new Error("Cannot read: EIO");
    const part = this.#bytes.subarray(this.#position, this.#position + this.most);
    const given = part.subarray(0, into.length);
    into.set(given);
    this.#position += given.length;
    this.largest = Math.max(this.largest, given.length);
    return given.length;
  }

  settle(): Promise<void> {
    this.settled += 1;
    return Promise.resolve();
  }
}

describe("a stream of bytes that is piped into a decoder", () => {
  for (const how of ["pipeTo", "pipeThrough"] as const) {
    it(`is read to where the bytes belong, without chunks: ${how}`, async () => {
      const reads = new TestReads();
      const stream = new DirectStream(reads);
      const decoder = decodeCheckpoint();
      const fed = how === "pipeTo" ? stream.pipeTo(decoder.writable) : null;
      const readable = how === "pipeTo" ? decoder.readable : stream.pipeThrough(decoder);
      assert.deepEqual(whole(await Array.fromAsync(readable)), whole(TRANSACTIONS));
      await fed;
      assert.equal((await decoder.trailer).transactions, 3);
      assert.deepEqual([reads.chunks, reads.largest, reads.settled], [0, 100_000, 1]);
      assert.equal(stream.locked, true);
    });
  }

  it("shows the header before the data has come", async () => {
    const reads = new TestReads();
    const more = Promise.withResolvers<void>();
    [reads.stopsAt, reads.more] = [1_000_000, more.promise];
    const decoder = decodeCheckpoint();
    let piped = false;
    const fed = new DirectStream(reads).pipeTo(decoder.writable).then(() => piped = true);
    assert.equal((await decoder.header).tool, "test 1.2.3");
    assert.equal(piped, false);
    more.resolve();
    assert.equal((await Array.fromAsync(decoder.readable)).length > 2, true);
    await fed;
  });

  it("is not closed before the last byte was read", async () => {
    const reads = new TestReads();
    const decoder = decodeCheckpoint();
    const order: string[] = [];
    const fed = new DirectStream(reads).pipeTo(decoder.writable).then(() => order.push("piped"));
    const reader = decoder.readable.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      order.push(`${value.data.length}`);
    }
    await fed;
    assert.equal(order.at(-1), "piped");
  });

  it("is cancelled by a bad checkpoint, which fails the pipe", async () => {
    const bad = bytesOf(CHECKPOINT);
    bad[2_000_000]! ^= 1;
    const reads = new TestReads(bad);
    const decoder = decodeCheckpoint();
    const isBad = (error: CheckpointError): boolean => error.code === "crc";
    const fed = new DirectStream(reads).pipeTo(decoder.writable);
    fed.catch(() => {});
    await assert.rejects(Array.fromAsync(decoder.readable), isBad);
    await assert.rejects(fed, isBad);
    await assert.rejects(decoder.trailer, isBad);
    assert.equal(reads.settled, 1);
  });

  it("is refused by a decoder if it ends too early", async () => {
    const decoder = decodeCheckpoint();
    const fed = new DirectStream(new TestReads(CHECKPOINT.subarray(0, 9000)))
      .pipeTo(decoder.writable);
    fed.catch(() => {});
    const isShort = (error: CheckpointError): boolean => error.code === "truncated";
    await assert.rejects(Array.fromAsync(decoder.readable), isShort);
  });

  it("fails both ends if it cannot be read", async () => {
    const reads = new TestReads();
    reads.failsAt = 500_000;
    const decoder = decodeCheckpoint();
    const fed = new DirectStream(reads).pipeTo(decoder.writable);
    fed.catch(() => {});
    await assert.rejects(Array.fromAsync(decoder.readable), /EIO/);
    await assert.rejects(fed, /EIO/);
    assert.equal(reads.settled, 1);
  });

  it("ends with its signal, and with a reader that wants no more", async () => {
    for (const how of ["signal", "reader"]) {
      const reads = new TestReads();
      [reads.stopsAt, reads.more] = [4096, new Promise(() => {})];
      const decoder = decodeCheckpoint();
      const ending = new AbortController();
      const options = { signal: ending.signal };
      const fed = new DirectStream(reads).pipeTo(decoder.writable, options);
      fed.catch(() => {});
      await decoder.header;
      if (how === "signal") ending.abort("enough");
      else await decoder.readable.cancel("enough");
      await assert.rejects(fed, (reason) => reason === "enough");
      await assert.rejects(decoder.trailer, (reason) => reason === "enough");
      assert.equal(reads.settled, 1, how);
    }
  });

  it("goes on as chunks if one was read before", async () => {
    const reads = new TestReads();
    const stream = new DirectStream(reads);
    const reader = stream.getReader();
    assert.equal((await reader.read()).value?.length, 1000);
    reader.releaseLock();
    const decoder = decodeCheckpoint();
    const fed = stream.pipeTo(decoder.writable);
    fed.catch(() => {});
    const isOther = (error: CheckpointError): boolean => error.code === "not-a-checkpoint";
    await assert.rejects(Array.fromAsync(decoder.readable), isOther);
    assert.ok(reads.chunks > 1);
  });
});

describe("a stream of bytes", () => {
  it("gives chunks to any other reader", async () => {
    for (
      const stream of [
        new DirectStream(new TestReads()),
        new DirectStream(new TestReads()).pipeThrough(new TransformStream()),
        new DirectStream(new TestReads()).tee()[1],
      ]
    ) {
      assert.ok(Buffer.from(bytesOf(...await Array.fromAsync(stream))).equals(CHECKPOINT));
    }
  });

  it("is not piped while it or the other end is in use", async () => {
    const used = new DirectStream(new TestReads());
    used.getReader();
    await assert.rejects(used.pipeTo(decodeCheckpoint().writable), TypeError);
    assert.throws(() => used.pipeThrough(decodeCheckpoint()), TypeError);
    const busy = decodeCheckpoint();
    busy.writable.getWriter();
    const free = new DirectStream(new TestReads());
    await assert.rejects(free.pipeTo(busy.writable), TypeError);
    assert.throws(() => free.pipeThrough(busy), TypeError);
    assert.equal(free.locked, false);
  });
});
