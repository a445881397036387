import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { combineCrc, rememberCrc, takeCrc } from "../../src/base/known_crc.ts";

const bytesOf = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 1) bytes[at] = at * 31 + (at >> 8);
  return bytes;
};

describe("a CRC that is known", () => {
  it("of two pieces is that of their bytes one after the other", () => {
    fc.assert(fc.property(fc.uint8Array(), fc.uint8Array(), (first, second) => {
      const both = new Uint8Array([...first, ...second]);
      assert.equal(combineCrc(crc32(first), crc32(second), second.length), crc32(both));
    }));
    const large = bytesOf((1 << 20) + 7);
    const [head, rest] = [large.subarray(0, 24), large.subarray(24)];
    assert.equal(combineCrc(crc32(head), crc32(rest), rest.length), crc32(large));
  });

  it("is taken once, of the same bytes only", () => {
    const bytes = bytesOf(100);
    const part = bytes.subarray(10, 60);
    rememberCrc(part, crc32(part));
    assert.equal(takeCrc(bytes.subarray(10, 60)), crc32(part));
    assert.equal(takeCrc(part), null);
    for (const other of [bytes, bytes.subarray(10, 59), bytes.subarray(11, 60), part.slice()]) {
      rememberCrc(part, crc32(part));
      assert.equal(takeCrc(other), null);
    }
  });

  it("grows by the bytes behind it", () => {
    const bytes = bytesOf(5000);
    for (const [begin, end] of [[8, 1000], [1000, 1001], [1001, 5000]]) {
      rememberCrc(bytes.subarray(begin, end), crc32(bytes.subarray(begin, end)));
    }
    assert.equal(takeCrc(bytes.subarray(8)), crc32(bytes.subarray(8)));
  });

  it("is replaced by that of bytes elsewhere, and of bytes that are read again", () => {
    const bytes = bytesOf(64);
    for (const [begin, end] of [[0, 32], [40, 64], [40, 64]]) {
      rememberCrc(bytes.subarray(begin, end), crc32(bytes.subarray(begin, end)));
    }
    assert.equal(takeCrc(bytes.subarray(40)), crc32(bytes.subarray(40)));
  });
});
