import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import fc from "fast-check";
import { compressToFrame, decompressFrame, giveBack } from "../../src/checkpoint/frames/zstd.ts";
import { FRAME_ZSTD, MAX_BODY } from "../../src/checkpoint/frames/constants.ts";
import {
  type Bytes,
  bytesOf,
  craft,
  dataFrame,
  encode,
  fault,
  headFrame,
  read,
  split,
  tailOf,
  transaction,
} from "./_tools.ts";

/** What Deno's compressor leaves behind a frame: one of no content. */
const EMPTY = new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0]);

/** Bytes of which so many in 256 stretches of `grain` bytes are noise, always the same. */
function content(length: number, noise: number, grain: number, seed: number): Bytes {
  const bytes = new Uint8Array(length);
  let state = seed | 1;
  let noisy = false;
  for (let at = 0; at < length; at++) {
    state = Math.imul(state, 1664525) + 1013904223 | 0;
    if (at % grain === 0) noisy = (state >>> 24) < noise;
    bytes[at] = noisy ? state >>> 16 : 7;
  }
  return bytes;
}

const KIB = 1024;
const lengths = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 255, 256, 257),
  fc.integer({ min: 0, max: 2000 }),
  fc.integer({ min: 128 * KIB - 300, max: 128 * KIB + 300 }),
  fc.integer({ min: 1, max: 700 * KIB }).map((length) => length | 1),
  fc.integer({ min: 1024 * KIB - 3, max: 1024 * KIB + 3 }),
);

const contents = fc.record({
  length: lengths,
  noise: fc.integer({ min: 0, max: 256 }),
  grain: fc.constantFrom(1, 7, 64, 4096),
  seed: fc.integer(),
});

/** Large arrays take assert.deepEqual seconds. */
function assertEqual(bytes: Uint8Array | null | undefined, expected: Uint8Array): void {
  assert.ok(bytes instanceof Uint8Array);
  assert.equal(bytes.length, expected.length);
  assert.equal(Buffer.compare(bytes, expected), 0);
}

/** One frame and nothing more: what it declares is what comes out, and no byte of it can be missing. */
function assertOneFrame(body: Bytes, bytes: Bytes): void {
  assertEqual(decompressFrame(body, bytes.length), bytes);
  // Of no content, the frame is an empty one itself.
  assert.ok(bytes.length === 0 || body.subarray(-9).some((byte, at) => byte !== EMPTY[at]));
  assert.equal(decompressFrame(body, bytes.length + 1), null);
  if (bytes.length > 0) assert.equal(decompressFrame(body, bytes.length - 1), null);
  assert.equal(decompressFrame(body.slice(0, -1), bytes.length), null);
}

describe("a body that is compressed", () => {
  it("is exactly one frame of exactly the content, of any length and compressibility", () => {
    fc.assert(
      fc.property(contents, ({ length, noise, grain, seed }) => {
        const bytes = content(length, noise, grain, seed);
        const body = compressToFrame(bytes);
        assert.notEqual(body, null);
        assertOneFrame(body!, bytes);
        // Any other reader of zstd agrees.
        assertEqual(zstdDecompressSync(body!), bytes);
      }),
      { numRuns: 150 },
    );
  });

  it("is read back out of a checkpoint, of any length and compressibility", () => {
    fc.assert(
      fc.property(fc.array(contents, { maxLength: 3 }), (parts) => {
        const datas = parts.map(({ length, noise, grain, seed }) =>
          content(length, noise, grain, seed)
        );
        const bytes = encode(datas.map((data) => transaction(data)), { compress: "zstd" });
        const { transactions, error } = read(bytes);
        assert.equal(error, null);
        assert.equal(transactions.length, datas.length);
        datas.forEach((data, index) => assertEqual(transactions[index]?.data, data));
      }),
      { numRuns: 30 },
    );
  });

  it("may be as large as a frame's body", () => {
    const bytes = content(MAX_BODY, 100, 64, 1);
    assertOneFrame(compressToFrame(bytes)!, bytes);
  });

  it("keeps only its own memory", () => {
    const body = compressToFrame(new Uint8Array(1 << 20))!;
    assert.ok(body.buffer.byteLength < 64 * KIB, `${body.buffer.byteLength} bytes`);
  });
});

describe("memory of node:zlib", () => {
  it("is given back as soon as it was copied", () => {
    const bytes = content(1 << 20, 128, 64, 5);
    let made: Uint8Array | null = null;
    const body = compressToFrame(bytes, (input, options) => {
      const buffer = zstdCompressSync(input, options);
      made = buffer;
      return buffer;
    })!;
    assert.equal(made!.buffer.byteLength, 0);
    assert.notEqual(body.length, 0);
    const back = decompressFrame(body, bytes.length)!;
    // It needs no more than one byte beyond the content.
    assert.ok(back.buffer.byteLength <= bytes.length + 1, `${back.buffer.byteLength} bytes`);
    giveBack(back);
    assert.equal(back.buffer.byteLength, 0);
  });

  it("is left alone where it may be shared with others", () => {
    const shared = Buffer.from("shared");
    giveBack(new Uint8Array(shared.buffer as ArrayBuffer, shared.byteOffset, shared.length));
    assert.equal(`${shared}`, "shared");
  });
});

describe("a compressor that makes something else", () => {
  const bytes = content(200 * KIB, 128, 64, 3);
  const compressor =
    (change: (made: Uint8Array) => Uint8Array): typeof zstdCompressSync => (input, options) =>
      change(zstdCompressSync(input, options)) as ReturnType<typeof zstdCompressSync>;

  it("loses the empty frames that it appends", () => {
    for (const tail of [[EMPTY], [EMPTY, EMPTY], [zstdCompressSync(bytesOf())]]) {
      const body = compressToFrame(bytes, compressor((made) => bytesOf(made, ...tail)));
      assertEqual(body, compressToFrame(bytes)!);
    }
  });

  it("is not used if it appends anything else", () => {
    for (const tail of [[1], [...EMPTY, 0], [...EMPTY.subarray(1)], [...zstdCompressSync("x")]]) {
      const appended = compressor((made) => bytesOf(made, new Uint8Array(tail)));
      assert.equal(compressToFrame(bytes, appended), null, tail.join());
    }
    // A skippable frame is no content, and no frame of ours.
    const skippable = new Uint8Array([0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9]);
    assert.equal(compressToFrame(bytes, compressor((made) => bytesOf(made, skippable))), null);
  });

  it("is not used if the frame is cut, anywhere", () => {
    const small = bytesOf("ab".repeat(300));
    const { length } = compressToFrame(small)!;
    for (let cut = 0; cut < length; cut++) {
      assert.equal(compressToFrame(small, compressor((made) => made.subarray(0, cut))), null);
    }
  });

  it("is not used if it compressed other bytes, or none", () => {
    for (const other of [bytes.subarray(1), bytesOf(), bytesOf(bytes, "x")]) {
      assert.equal(compressToFrame(bytes, () => zstdCompressSync(other)), null);
      const streamed: typeof zstdCompressSync = (_, options) => {
        // Without the length in the frame's header, it is found by decompressing.
        return zstdCompressSync(other, { ...options, pledgedSrcSize: undefined } as typeof options);
      };
      assert.equal(compressToFrame(bytes, streamed), null);
    }
  });

  it("is not used if it throws", () => {
    const failing = (): never => {
      throw new Error("out of memory");
    };
    assert.equal(compressToFrame(bytes, failing), null);
  });
});

describe("empty frames behind a body's frame", () => {
  const frame = (size: number, body: Bytes): ReturnType<typeof dataFrame> =>
    dataFrame([size], body, { frameFlags: FRAME_ZSTD });
  const body = compressToFrame(bytesOf(1000))!;

  it("are left out: versions before the first release wrote them under Deno", () => {
    for (const tail of [[EMPTY], [EMPTY, EMPTY]]) {
      const old = frame(1000, bytesOf(body, ...tail));
      const bytes = craft(headFrame(), old, tailOf([old]));
      for (const options of [{}, { discard: true }]) {
        const { error, trailer } = read(bytes, undefined, options);
        assert.equal(error, null);
        assert.equal(trailer?.bytes, 1000);
      }
      assert.deepEqual(read(bytes).transactions.map(({ data }) => data), [bytesOf(1000)]);
    }
  });

  it("are all that may be there", () => {
    for (
      const tail of [
        EMPTY.subarray(0, 8),
        bytesOf(EMPTY, "x"),
        bytesOf(EMPTY, compressToFrame(bytesOf("x"))!),
      ]
    ) assert.equal(fault(craft(headFrame(), frame(1000, bytesOf(body, tail)))), "compression");
    // And not in front.
    const before = frame(1000, bytesOf(EMPTY, body));
    assert.equal(fault(craft(headFrame(), before)), "compression");
  });

  it("are found in what this runtime writes by no run of bodies", () => {
    for (let length = 50_001; length < 1_100_000; length += 77_777) {
      const bytes = encode([transaction(content(length, 128, 64, length))], { compress: "zstd" });
      const [, , data] = split(bytes);
      assert.notDeepEqual(data!.subarray(-9), EMPTY, `${length} bytes`);
    }
  });
});
