import assert from "node:assert/strict";
import process from "node:process";
import { it } from "node:test";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { decodeCheckpoint } from "../../src/checkpoint/format/decode.ts";
import { encodeCheckpoint } from "../../src/checkpoint/format/encode.ts";
import type { CheckpointError } from "../../src/checkpoint/checkpoint_error.ts";
import { MAX_BODY } from "../../src/checkpoint/frames/constants.ts";
import type { Transaction } from "../../src/checkpoint/batches/transaction.ts";
import { bytesOf, encode, header, transaction, whole } from "./_tools.ts";

/** A stream that gives nothing more after its chunks, and never ends. */
function stuck(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller): void {
      for (const chunk of chunks) controller.enqueue(chunk);
    },
  });
}

const isCode = (code: string) => (error: CheckpointError): boolean => error.code === code;

it("streams give what the loop gives", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(5000)),
      fc.integer({ min: 1, max: 999 }),
      async (sizes, cut) => {
        const transactions = sizes.map((size) => transaction(size));
        const chunks = await Array.fromAsync(
          ReadableStream.from(transactions).pipeThrough(
            encodeCheckpoint(header(), { elapsed: () => 0 }),
          ),
        );
        const bytes = bytesOf(...chunks);
        assert.ok(Buffer.from(bytes).equals(encode(transactions)));
        const decoder = decodeCheckpoint();
        const pieces = Array.from(
          { length: Math.ceil(bytes.length / cut) },
          (_, index) => bytes.subarray(index * cut, (index + 1) * cut),
        );
        const fed = ReadableStream.from(pieces).pipeTo(decoder.writable);
        const decoded = await Array.fromAsync(decoder.readable);
        await fed;
        assert.deepEqual(whole(decoded), whole(transactions));
        assert.equal((await decoder.trailer).transactions, sizes.length);
      },
    ),
    { numRuns: 30 },
  );
});

it("the header is there before a transaction is read", async () => {
  const bytes = encode([transaction(1000), transaction(2000)]);
  const decoder = decodeCheckpoint();
  const fed = stuck(bytes.subarray(0, 600)).pipeTo(decoder.writable);
  assert.equal((await decoder.header).tool, "test 1.2.3");
  await decoder.readable.cancel("enough");
  await assert.rejects(fed, (reason) => reason === "enough");
  await assert.rejects(decoder.trailer, (reason) => reason === "enough");
});

it("transactions of a frame lie one after the other in one buffer", async () => {
  const buffer = bytesOf(8192);
  const views = [0, 1].map((index) => ({
    ...transaction(0),
    data: buffer.subarray(4096 * index, 4096 * (index + 1)),
  }));
  const decoder = decodeCheckpoint();
  const bytes = encode(views);
  const fed = ReadableStream.from([bytes]).pipeTo(decoder.writable);
  const [first, second] = await Array.fromAsync(decoder.readable);
  await fed;
  assert.equal(first?.data.buffer, second?.data.buffer);
  assert.equal(first?.data.byteOffset, 0);
  assert.equal(second?.data.byteOffset, 4096);
  assert.notEqual(first?.data.buffer, bytes.buffer);
});

it("a bad frame ends the stream, and stops the source, before its bytes are seen", async () => {
  const bytes = encode([transaction("good"), transaction("bad!"), transaction("never")]);
  bytes[Buffer.from(bytes).indexOf("bad!")]! ^= 1;
  const decoder = decodeCheckpoint();
  let cancelled: unknown;
  const source = new ReadableStream<Uint8Array>({
    start(controller): void {
      controller.enqueue(bytes);
    },
    cancel(reason): void {
      cancelled = reason;
    },
  });
  const fed = source.pipeTo(decoder.writable);
  const seen: Transaction[] = [];
  await assert.rejects(async () => {
    for await (const item of decoder.readable) seen.push(item);
  }, isCode("crc"));
  assert.deepEqual(whole(seen), ["0 stop-and-copy good"]);
  await assert.rejects(fed, isCode("crc"));
  await assert.rejects(decoder.trailer, isCode("crc"));
  assert.equal(isCode("crc")(cancelled as CheckpointError), true);
});

it("a stream that is cut does not end well", async () => {
  const bytes = encode([transaction("good")]);
  const decoder = decodeCheckpoint();
  const fed = ReadableStream.from([bytes.subarray(0, -1)]).pipeTo(decoder.writable);
  fed.catch(() => {});
  await assert.rejects(Array.fromAsync(decoder.readable), isCode("truncated"));
  await assert.rejects(decoder.trailer, isCode("truncated"));
  assert.equal((await decoder.header).complete, true);
});

it("no header comes of what is none", async () => {
  const decoder = decodeCheckpoint();
  const fed = ReadableStream.from([bytesOf("this is no checkpoint")]).pipeTo(decoder.writable);
  fed.catch(() => {});
  await assert.rejects(decoder.header, isCode("not-a-checkpoint"));
});

it("an error of the source arrives as it is", async () => {
  const decoder = decodeCheckpoint();
  const gone = new Error("gone");
  const fed = new ReadableStream({ start: (controller): void => controller.error(gone) })
    .pipeTo(decoder.writable);
  fed.catch(() => {});
  await assert.rejects(Array.fromAsync(decoder.readable), gone);
  await assert.rejects(decoder.header, gone);
});

it("the pre-copy phase alone is refused at its header if more is asked for", async () => {
  const decoder = decodeCheckpoint({ requireComplete: true });
  const bytes = encode([transaction("x", "pre-copy")], { complete: false });
  const fed = stuck(bytes.subarray(0, 600)).pipeTo(decoder.writable);
  fed.catch(() => {});
  await assert.rejects(decoder.header, isCode("incomplete"));
});

it("a source is read no faster than transactions are", async () => {
  // A few bytes of zstd that become 16 MiB each: they must not all be there at once.
  const zeros = { ...transaction(0), data: bytesOf(MAX_BODY) };
  const bytes = encode(Array.from({ length: 40 }, () => zeros), { compress: "zstd" });
  const decoder = decodeCheckpoint();
  const fed = ReadableStream.from([bytes]).pipeTo(decoder.writable);
  const before = process.memoryUsage().rss;
  await decoder.header;
  for (let turn = 0; turn < 100; turn++) await setImmediate();
  assert.ok(process.memoryUsage().rss - before < 300 * 2 ** 20);
  let count = 0;
  for await (const { data } of decoder.readable) count += data.length;
  assert.equal(count, 40 * MAX_BODY);
  await fed;
});

it("a failed encoder fails its stream", async () => {
  const encoder = encodeCheckpoint(header());
  const made = Array.fromAsync(encoder.readable);
  made.catch(() => {});
  await assert.rejects(
    ReadableStream.from([transaction("x", "pre-copy", true)]).pipeTo(encoder.writable),
    TypeError,
  );
  await assert.rejects(made, TypeError);
});
