import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DirtyBitmap } from "../../src/dirty/bitmap/bitmap.ts";
import { bitmapBytes, pagesOf } from "../../src/dirty/bitmap/bitmap_range.ts";

describe("bitmapBytes()", () => {
  it("rounds up to whole words of 64 bits", () => {
    const sizes = [0, 1, 63, 64, 65, 128, 2 ** 31 - 1, 2 ** 31].map(bitmapBytes);
    assert.deepEqual(sizes, [0, 8, 8, 8, 16, 16, 256 << 20, 256 << 20]);
  });
});

describe("pagesOf()", () => {
  it("counts pages up to 2^31, and up to the end of the address space", () => {
    assert.equal(pagesOf({ iova: 0n, size: 0n, pgsize: 4096 }), 0);
    assert.equal(pagesOf({ iova: (1n << 64n) - 4096n, size: 4096n, pgsize: 4096 }), 1);
    assert.equal(pagesOf({ iova: 0n, size: 1n << 64n, pgsize: 2 ** 33 }), 2 ** 31);
    assert.equal(pagesOf({ iova: 7n, size: 9n, pgsize: 1 }), 9);
  });

  it("refuses a page size that is no power of two", () => {
    for (const pgsize of [0, 3, -4096, 2.5, 4095, NaN, Infinity, 2 ** 53]) {
      assert.throws(() => pagesOf({ iova: 0n, size: 0n, pgsize }), {
        name: "RangeError",
        message: `Cannot use page size ${pgsize}: it is no power of two`,
      });
    }
  });

  it("refuses what is not in whole pages", () => {
    assert.throws(() => pagesOf({ iova: 0x800n, size: 4096n, pgsize: 4096 }), /whole pages/);
    assert.throws(() => pagesOf({ iova: 0n, size: 4097n, pgsize: 4096 }), /whole pages/);
    assert.throws(() => pagesOf({ iova: 4096n, size: 4096n, pgsize: 1 << 21 }), /whole pages/);
  });

  it("refuses what does not lie within 2^64", () => {
    const message = /does not lie between 0 and 2\^64/;
    assert.throws(() => pagesOf({ iova: -4096n, size: 8192n, pgsize: 4096 }), message);
    assert.throws(() => pagesOf({ iova: 4096n, size: -4096n, pgsize: 4096 }), message);
    const iova = (1n << 64n) - 4096n;
    assert.throws(() => pagesOf({ iova, size: 8192n, pgsize: 4096 }), message);
  });

  it("refuses more than 2^31 pages", () => {
    assert.throws(
      () => pagesOf({ iova: 0n, size: (1n << 43n) + 4096n, pgsize: 4096 }),
      /has 2147483649 pages, more than 2147483648/,
    );
  });
});

describe("DirtyBitmap", () => {
  const range = { iova: 0x10000n, size: 0x41000n, pgsize: 4096 };
  const bitmap = DirtyBitmap.fromRuns(range, []);

  it("refuses memory that is too short for the range", () => {
    assert.throws(() => DirtyBitmap.over(range, new Uint8Array(15)), {
      name: "RangeError",
      message: "Cannot lay a bitmap of 65 pages over 15 bytes: it needs 16",
    });
  });

  it("refuses runs and slices that are not whole pages of the range", () => {
    for (
      const part of [
        { iova: 0xf000n, size: 0x2000n },
        { iova: 0x50000n, size: 0x2000n },
        { iova: 0x11000n, size: -0x1000n },
        { iova: 0x10800n, size: 0x1000n },
        { iova: 0x11000n, size: 0x1800n },
      ]
    ) {
      assert.throws(() => DirtyBitmap.fromRuns(range, [part]), RangeError);
      assert.throws(() => bitmap.slice(part.iova, part.size), RangeError);
    }
  });

  it("is combined only with one of the same range and page size", () => {
    for (
      const other of [
        { ...range, iova: 0x11000n },
        { ...range, size: 0x40000n },
        { ...range, pgsize: 2048 },
      ]
    ) {
      const message = /Cannot combine bitmaps: one is .+, the other is .+/;
      assert.throws(() => bitmap.union(DirtyBitmap.fromRuns(other, [])), message);
      assert.throws(() => bitmap.difference(DirtyBitmap.fromRuns(other, [])), message);
    }
  });

  it("refuses to become pages of a size that is no power of two", () => {
    for (const pgsize of [0, 3, 6144]) assert.throws(() => bitmap.withPgsize(pgsize), RangeError);
  });

  it("may be of no pages at all", () => {
    const none = DirtyBitmap.over({ iova: 0n, size: 0n, pgsize: 4096 }, new Uint8Array(0));
    assert.equal(none.isEmpty(), true);
    assert.equal(none.count(), 0);
    assert.deepEqual([...none.pages(), ...none.runs()], []);
    assert.equal(none.toBytes().length, 0);
    assert.equal(none.withPgsize(1 << 21).pageCount, 0);
    assert.equal(none.union(none).slice(0n, 0n).isEmpty(), true);
  });

  it("grows to whole larger pages up to the end of the address space", () => {
    const end = { iova: (1n << 64n) - 0x3000n, size: 0x3000n, pgsize: 4096 };
    const coarse = DirtyBitmap.fromRuns(end, [{ iova: end.iova, size: 4096n }]).withPgsize(1 << 30);
    assert.deepEqual([...coarse.runs()], [{ iova: (1n << 64n) - (1n << 30n), size: 1n << 30n }]);
  });
});
