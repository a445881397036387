import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DirtyBitmap } from "../../src/dirty/bitmap/bitmap.ts";
import { bitmapBytes } from "../../src/dirty/bitmap/bitmap_range.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { assertSame } from "./_naive_bitmap.ts";

const PAGE = 4096n;

describe("a dirty bitmap over kernel memory", () => {
  const range = { iova: 1n << 32n, size: 1_000_001n * PAGE, pgsize: 4096 };
  const options = { prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS };

  it("sees what is in it, and what comes later; a copy does not", () => {
    using mapping = libcKernel().mmap(bitmapBytes(1_000_001), options);
    const bitmap = DirtyBitmap.over(range, mapping);
    assert.equal(bitmap.isEmpty(), true);

    mapping.write(125_000, Uint8Array.of(0b0000_0001));
    assert.equal(bitmap.isEmpty(), false);
    assert.deepEqual([...bitmap.pages()], [range.iova + 1_000_000n * PAGE]);
    const copy = bitmap.copy();

    mapping.write(40_000, Uint8Array.of(0b1000_0000, 0xff));
    assert.equal(bitmap.count(), 10);
    assert.deepEqual([...bitmap.difference(copy).runs()], [
      { iova: range.iova + 320_007n * PAGE, size: 9n * PAGE },
    ]);
    assert.equal(copy.count(), 1);
  });

  it("does not count what lies past the last page", () => {
    using mapping = libcKernel().mmap(bitmapBytes(1_000_001), options);
    mapping.write(125_000, Uint8Array.of(0b1111_1110, 0xff, 0xff, 0xff));
    const bitmap = DirtyBitmap.over(range, mapping);
    assert.equal(bitmap.isEmpty(), true);
    assert.equal(bitmap.count(), 0);
    assert.deepEqual([...bitmap.pages()], []);
  });

  it("cannot be read once that is unmapped", () => {
    const mapping = libcKernel().mmap(bitmapBytes(1_000_001), options);
    const bitmap = DirtyBitmap.over(range, mapping);
    mapping.close();
    assert.throws(() => bitmap.count(), RangeError);
    assert.throws(() => bitmap.isEmpty(), RangeError);
  });
});

describe("a dirty bitmap over bytes", () => {
  it("shares them", () => {
    const bytes = new Uint8Array(8);
    const bitmap = DirtyBitmap.over({ iova: 0n, size: 3n * PAGE, pgsize: 4096 }, bytes);
    bytes[0] = 0b1111_1010;
    assert.deepEqual([...bitmap.pages()], [PAGE]);
    assert.deepEqual(bitmap.toBytes(), Uint8Array.of(0b010, 0, 0, 0, 0, 0, 0, 0));
  });

  it("is not taken for clean once its buffer went to another thread", () => {
    const bytes = new Uint8Array(8);
    const bitmap = DirtyBitmap.over({ iova: 0n, size: 64n * PAGE, pgsize: 4096 }, bytes);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    const gone = { name: "RangeError", message: /its buffer has 0 left/ };
    assert.throws(() => bitmap.isEmpty(), gone);
    assert.throws(() => bitmap.count(), gone);
    assert.throws(() => [...bitmap.runs()], gone);
    assert.throws(() => bitmap.toBytes(), gone);
  });
});

describe("a dirty bitmap of 2^31 pages", () => {
  const last = 2 ** 31 - 1;
  const range = { iova: 1n << 43n, size: 1n << 43n, pgsize: 4096 };
  const dirty: [number, number][] = [
    [0, 1],
    [63, 2],
    [2 ** 28 - 1, 2],
    [2 ** 30 - 70, 140],
    [2 ** 31 - 131073, 2],
    [last - 66, 3],
    [last, 1],
  ];
  const bitmap = DirtyBitmap.fromRuns(
    range,
    dirty.map(([page, pages]) => ({
      iova: range.iova + BigInt(page) * PAGE,
      size: BigInt(pages) * PAGE,
    })),
  );

  it("has its pages and runs where they were put", () => {
    assert.equal(bitmap.pageCount, 2 ** 31);
    assert.equal(bitmap.toBytes().length, 256 << 20);
    assert.equal(bitmap.isEmpty(), false);
    assert.equal(bitmap.count(), 151);
    const runs: [number, number][] = [];
    bitmap.forEachRun((page, pages) => runs.push([page, pages]));
    assertSame(runs, dirty);
    const pages = [...bitmap.pages()];
    assert.equal(pages.length, 151);
    assert.equal(pages.at(-1), (1n << 44n) - PAGE);
    assert.equal(pages[3], range.iova + BigInt(2 ** 28 - 1) * PAGE);
  });

  it("is cut at its end, at any page", () => {
    const iova = range.iova + BigInt(last - 65) * PAGE;
    const part = bitmap.slice(iova, 66n * PAGE);
    assertSame(part.runs(), [
      { iova, size: 2n * PAGE },
      { iova: (1n << 44n) - PAGE, size: PAGE },
    ]);
  });

  it("becomes larger pages, but no smaller ones", () => {
    const coarse = bitmap.withPgsize(1 << 21);
    assert.equal(coarse.pageCount, 2 ** 22);
    assertSame([...coarse.pages()].map((iova) => Number((iova - range.iova) >> 21n)), [
      0,
      2 ** 19 - 1,
      2 ** 19,
      2 ** 21 - 1,
      2 ** 21,
      2 ** 22 - 257,
      2 ** 22 - 256,
      2 ** 22 - 1,
    ]);
    assert.throws(() => bitmap.withPgsize(2048), /has 4294967296 pages, more than 2147483648/);
  });

  it("is one run if all of it is dirty", () => {
    const all = DirtyBitmap.fromRuns(range, [range]);
    assert.equal(all.count(), 2 ** 31);
    assertSame(all.runs(), [{ iova: range.iova, size: range.size }]);
    assert.equal(all.union(bitmap).count(), 2 ** 31);
    assert.equal(all.difference(bitmap).count(), 2 ** 31 - 151);
  });
});
