import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { CheckpointEncoder } from "../../src/checkpoint/format/checkpoint_encoder.ts";
import { FRAME_ZSTD, MAX_BODY, MAX_ENTRIES } from "../../src/checkpoint/frames/constants.ts";
import { FrameReader } from "../../src/checkpoint/frames/frame_reader.ts";
import type { Phase, Transaction } from "../../src/checkpoint/batches/transaction.ts";
import {
  type Bytes,
  bytesOf,
  encode,
  header,
  read,
  readInPlace,
  transaction,
  whole,
} from "./_tools.ts";

/** Transactions of two devices, some of them one behind the other in a buffer, some in chunks. */
const transactionLists: fc.Arbitrary<Transaction[]> = fc.array(
  fc.record({
    device: fc.nat(1),
    phase: fc.constantFrom<Phase>("pre-copy", "stop-and-copy"),
    sizes: fc.array(fc.nat(200), { minLength: 1, maxLength: 8 }),
    gap: fc.nat(3),
    chunks: fc.integer({ min: 1, max: 3 }),
    seed: fc.nat(255),
  }),
  { maxLength: 12 },
).map((batches) =>
  batches.flatMap(({ device, phase, sizes, gap, chunks, seed }) => {
    const buffer = bytesOf(sizes.reduce((sum, size) => sum + size + gap, 8));
    buffer.forEach((_, index) => buffer[index] = seed + index * 7);
    let at = 0;
    return sizes.flatMap((size) => {
      const data = buffer.subarray(at, at + size);
      at += size + gap;
      const cut = Math.ceil(size / chunks);
      return Array.from({ length: chunks }, (_, index) => ({
        device,
        phase,
        data: data.subarray(index * cut, (index + 1) * cut),
        more: index < chunks - 1,
      }));
    });
  })
);

it("what was encoded is decoded, transaction by transaction, whatever the pieces", () => {
  fc.assert(fc.property(
    transactionLists,
    fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 }),
    fc.constantFrom(undefined, "zstd" as const),
    fc.constantFrom(undefined, "sha256" as const),
    (transactions, pieces, compress, digest) => {
      const bytes = encode(transactions, { compress, digest }, header(2));
      const { transactions: decoded, trailer, error } = read(bytes, pieces);
      assert.equal(error, null);
      assert.deepEqual(whole(decoded), whole(transactions));
      assert.deepEqual(whole(readInPlace(bytes, pieces[0]!).transactions), whole(transactions));
      const total = transactions.reduce((sum, { data }) => sum + data.length, 0);
      assert.equal(trailer?.bytes, total);
      assert.equal(trailer?.transactions, transactions.filter(({ more }) => !more).length);
      assert.equal(trailer?.sha256 === null, digest === undefined);
    },
  ));
});

it("the same transactions give the same digest, compressed or not, in one buffer or in many", () => {
  fc.assert(fc.property(transactionLists, (transactions) => {
    const moved = transactions.map((item) => ({ ...item, data: bytesOf(item.data) }));
    const digests = [
      encode(transactions, { digest: "sha256" }, header(2)),
      encode(moved, { digest: "sha256", compress: "zstd" }, header(2)),
    ].map((bytes) => read(bytes).trailer?.sha256);
    assert.equal(digests[0], digests[1]);
  }));
});

/** The frames' types and sizes: `[type, flags, meta, body]`. */
function shape(bytes: Bytes): number[][] {
  const frames: number[][] = [];
  for (const { flags, metaLength, bodyLength } of new FrameReader().push(bytes)) {
    frames.push([flags, metaLength, bodyLength]);
  }
  return frames.slice(1, -1);
}

it("transactions that lie one behind the other become one frame", () => {
  const buffer = bytesOf(4096 * 4);
  const views = [0, 1, 2, 3].map((index) => ({
    ...transaction(0),
    data: buffer.subarray(4096 * index, 4096 * (index + 1)),
  }));
  assert.deepEqual(shape(encode(views)), [[0, 16 + 4 * 4, 16384]]);
  assert.deepEqual(shape(encode([views[0]!, views[2]!, views[3]!])), [
    [0, 20, 4096],
    [0, 24, 8192],
  ]);
  assert.deepEqual(shape(encode([views[1]!, views[0]!])), [[0, 20, 4096], [0, 20, 4096]]);
});

it("chunks of a transaction that lie one behind the other become one entry", () => {
  const buffer = bytesOf(300);
  const views = [0, 1, 2].map((index) => ({
    ...transaction(0, "stop-and-copy", index < 2),
    data: buffer.subarray(100 * index, 100 * (index + 1)),
  }));
  const bytes = encode(views);
  assert.deepEqual(shape(bytes), [[0, 20, 300]]);
  assert.equal(read(bytes).trailer?.transactions, 1);
});

it("another device or phase begins another frame", () => {
  const buffer = bytesOf(300);
  const part = (index: number): Bytes => buffer.subarray(100 * index, 100 * (index + 1));
  const bytes = encode(
    [
      { device: 0, phase: "pre-copy", data: part(0), more: false },
      { device: 0, phase: "stop-and-copy", data: part(1), more: false },
      { device: 1, phase: "stop-and-copy", data: part(2), more: false },
    ],
    {},
    header(2),
  );
  assert.equal(shape(bytes).length, 3);
  assert.deepEqual(
    read(bytes).trailer?.devices,
    [{ transactions: 2, bytes: 200 }, { transactions: 1, bytes: 100 }],
  );
});

it("a frame holds no more transactions than its table has room for", () => {
  const buffer = bytesOf(MAX_ENTRIES + 5);
  const views = Array.from({ length: buffer.length }, (_, index) => ({
    ...transaction(0),
    data: buffer.subarray(index, index + 1),
  }));
  const bytes = encode(views);
  assert.deepEqual(shape(bytes), [[0, 65536, MAX_ENTRIES], [0, 36, 5]]);
  assert.equal(read(bytes).trailer?.transactions, MAX_ENTRIES + 5);
});

it("a transaction larger than a frame comes in several, and counts as one", () => {
  const data = bytesOf(MAX_BODY + 1000);
  data.forEach((_, index) => data[index] = index * 2654435761 >>> 24);
  const bytes = encode([transaction("before"), { ...transaction(0), data }, transaction("after")]);
  assert.deepEqual(shape(bytes).map((frame) => frame[2]), [6, MAX_BODY, 1000, 5]);
  const { transactions, trailer } = read(bytes, [65536]);
  assert.equal(trailer?.transactions, 3);
  assert.deepEqual(transactions.map(({ more }) => more), [false, true, false, false]);
  assert.ok(
    Buffer.from(bytesOf(...transactions.slice(1, 3).map((item) => item.data))).equals(data),
  );
});

it("data is not copied on its way into the stream", () => {
  const { data } = transaction(100_000);
  const encoder = new CheckpointEncoder(header());
  encoder.begin();
  const chunks = encoder.transaction({ ...transaction(0), data });
  assert.equal(chunks.at(-1)?.buffer, data.buffer);
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.length < 100));
});

it("a batch goes in and comes out as it is", () => {
  const encoder = new CheckpointEncoder(header(), { elapsed: () => 2 ** 40 + 5 });
  const bytes = bytesOf("abcdef");
  const batch = { device: 0, phase: "pre-copy", sizes: [1, 2, 3], more: false, bytes } as const;
  const stream = bytesOf(...encoder.begin(), ...encoder.batch(batch), ...encoder.end());
  assert.equal(encoder.storedBytes, stream.length);
  const [decoded] = read(stream).batches;
  assert.deepEqual(Array.from(decoded!.sizes), [1, 2, 3]);
  assert.equal(decoded!.micros, 2 ** 40 + 5);
  assert.deepEqual([...decoded!.bytes], [...bytes]);
});

it("what does not get smaller is stored as it is, frame by frame", () => {
  const noise = crypto.getRandomValues(new Uint8Array(1000));
  const bytes = encode([transaction(noise), transaction(1000)], { compress: "zstd" });
  assert.deepEqual(shape(bytes).map((frame) => frame[0]), [0, FRAME_ZSTD]);
  assert.deepEqual(read(bytes).transactions.map(({ data }) => data.length), [1000, 1000]);
});

it("a checkpoint of a device that had nothing to say is one", () => {
  const { trailer, transactions } = read(encode([]));
  assert.deepEqual(transactions, []);
  assert.deepEqual([trailer?.complete, trailer?.frames, trailer?.bytes], [true, 1, 0]);
});

it("what the pre-copy phase alone has written says so, and is refused if more is asked for", () => {
  const bytes = encode([transaction("x", "pre-copy")], { complete: false });
  assert.equal(read(bytes).trailer?.complete, false);
  const { error, batches } = read(bytes, [Infinity], { requireComplete: true });
  assert.equal(error?.code, "incomplete");
  assert.deepEqual(batches, []);
});

it("an encoder refuses what a reader would refuse", () => {
  const refused = (work: () => unknown, message: RegExp): void =>
    assert.throws(
      work,
      (error: Error) => error instanceof TypeError && message.test(error.message),
    );
  const at = header().devices[0]!;
  refused(() => encode([], {}, { ...header(), devices: [] }), /devices is empty/);
  refused(() => encode([], {}, header(65)), /devices is not a list of at most 64/);
  refused(() => encode([], {}, { ...header(), created: "yesterday" }), /created is not a time/);
  refused(() => encode([], {}, { ...header(), tool: "\x1b[31m" }), /tool is not at most/);
  refused(() => encode([], {}, { ...header(), iovaPageSize: 4095 }), /not a power of two/);
  refused(
    () => encode([], {}, { ...header(), devices: [{ ...at, vendorId: 65536 }] }),
    /devices\[0\]\.vendorId is not a whole number/,
  );
  refused(() => encode([transaction(1, "pre-copy", false, 1)]), /device 1 is not in the header/);
  refused(() => encode([transaction(1, "pre-copy", true)]), /a transaction of device 0 goes on/);
  refused(
    () => encode([transaction(1, "pre-copy", true), transaction(1)]),
    /stop-and-copy goes on with a transaction of pre-copy/,
  );
  const encoder = new CheckpointEncoder(header());
  encoder.begin();
  const batch = { device: 0, phase: "pre-copy", more: false, bytes: bytesOf("abc") } as const;
  assert.throws(() => encoder.batch({ ...batch, sizes: [1, 1] }), RangeError);
  assert.throws(() => encoder.batch({ ...batch, sizes: [], bytes: bytesOf() }), RangeError);
});
