import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DirtyBitmap } from "../../src/dirty/bitmap/bitmap.ts";
import {
  addressRunsOf,
  assertSame,
  bytesOf,
  dirtyOf,
  laid,
  lay,
  type Naive,
  naives,
  runsOf,
} from "./_naive_bitmap.ts";

function sorted(dirty: Iterable<number>): number[] {
  return [...dirty].sort((a, b) => a - b);
}

/** The dirty pages of a bitmap, by its bytes. */
function dirtyIn(bitmap: DirtyBitmap): number[] {
  return [...dirtyOf(bitmap.toBytes(), bitmap.pageCount)];
}

function forEachRun(bitmap: DirtyBitmap): [number, number][] {
  const runs: [number, number][] = [];
  bitmap.forEachRun((page, pages) => runs.push([page, pages]));
  return runs;
}

/** Two bitmaps of one range, laid differently. */
const pairs = naives.chain((one) =>
  fc.tuple(
    fc.constant(one),
    naives.map(({ dirty }) => ({
      ...one,
      dirty: new Set([...dirty].filter((page) => page < one.pages)),
    })),
    fc.nat(9),
    fc.boolean(),
  )
);

describe("a dirty bitmap agrees with a set of pages", () => {
  it("in how many there are, and whether there are any", () => {
    fc.assert(fc.property(laid, ({ naive, bitmap }) => {
      assert.equal(bitmap.count(), naive.dirty.size);
      assert.equal(bitmap.isEmpty(), naive.dirty.size === 0);
    }));
  });

  it("in its pages, one by one and in batches", () => {
    fc.assert(fc.property(laid, ({ naive, bitmap }) => {
      const expected = sorted(naive.dirty);
      const batched: number[] = [];
      for (const batch of bitmap.pageBatches()) batched.push(...batch);
      assertSame(batched, expected);
      const pgsize = BigInt(naive.pgsize);
      assertSame(
        bitmap.pages(),
        expected.map((page) => naive.iova + BigInt(page) * pgsize),
      );
    }));
  });

  it("in its runs, as objects and by callback", () => {
    fc.assert(fc.property(laid, ({ naive, bitmap }) => {
      assertSame(forEachRun(bitmap), runsOf(naive));
      assertSame(bitmap.runs(), addressRunsOf(naive));
    }));
  });

  it("in its bytes, with nothing past the last page", () => {
    fc.assert(fc.property(laid, ({ naive, bitmap }) => {
      const expected = bytesOf(naive);
      assertSame(bitmap.toBytes(), expected);
      assertSame(bitmap.copy().toBytes(), expected);
      assertSame(DirtyBitmap.fromRuns(bitmap, bitmap.runs()).toBytes(), expected);
    }));
  });

  it("in unions and differences", () => {
    fc.assert(fc.property(pairs, ([one, two, skew, mapped]) => {
      const [a, b] = [lay(one, 0, 0, !mapped).bitmap, lay(two, skew, 3, mapped).bitmap];
      const naive = (dirty: Iterable<number>): Naive => ({ ...one, dirty: new Set(dirty) });
      const union = naive([...one.dirty, ...two.dirty]);
      const difference = naive([...one.dirty].filter((page) => !two.dirty.has(page)));
      assertSame(a.union(b).toBytes(), bytesOf(union));
      assertSame(a.difference(b).toBytes(), bytesOf(difference));
      assertSame(a.toBytes(), bytesOf(one));
    }));
  });

  it("in slices at any page", () => {
    fc.assert(fc.property(laid, fc.nat(), fc.nat(), ({ naive, bitmap }, one, two) => {
      const [first, end] = [one % (naive.pages + 1), two % (naive.pages + 1)].sort((a, b) => a - b);
      const pgsize = BigInt(naive.pgsize);
      const part = bitmap.slice(
        naive.iova + BigInt(first!) * pgsize,
        BigInt(end! - first!) * pgsize,
      );
      const dirty = [...naive.dirty].filter((page) => page >= first! && page < end!);
      assert.equal(part.iova, naive.iova + BigInt(first!) * pgsize);
      assert.equal(part.pageCount, end! - first!);
      assertSame(dirtyIn(part), sorted(dirty.map((page) => page - first!)));
    }));
  });

  it("in larger pages: dirty if any part is", () => {
    fc.assert(fc.property(laid, fc.nat(12), ({ naive, bitmap }, more) => {
      const coarse = bitmap.withPgsize(naive.pgsize * 2 ** more);
      const [fine, page] = [BigInt(naive.pgsize), BigInt(coarse.pgsize)];
      const end = naive.iova + BigInt(naive.pages) * fine;
      assert.ok(coarse.iova <= naive.iova && naive.iova - coarse.iova < page);
      assert.ok(coarse.iova + coarse.size >= end && coarse.iova + coarse.size - end < page);
      const expected = new Set<bigint>();
      for (const dirty of sorted(naive.dirty)) {
        expected.add((naive.iova + BigInt(dirty) * fine) / page * page);
      }
      assertSame(coarse.pages(), expected);
    }));
  });

  it("in smaller pages: dirty if the larger one is", () => {
    fc.assert(fc.property(laid, fc.nat(4), ({ naive, bitmap }, less) => {
      const shift = Math.min(less, Math.log2(naive.pgsize));
      const fine = bitmap.withPgsize(naive.pgsize / 2 ** shift);
      assert.deepEqual([fine.iova, fine.size], [bitmap.iova, bitmap.size]);
      assertSame(
        forEachRun(fine),
        runsOf(naive).map(([page, pages]) => [page * 2 ** shift, pages * 2 ** shift]),
      );
      assertSame(fine.withPgsize(naive.pgsize).toBytes(), bytesOf(naive));
    }));
  });
});

describe("a dirty bitmap of many batches", () => {
  const pages = 5 * 131072 + 77;
  const range = { iova: 0x1000n, size: BigInt(pages) << 12n, pgsize: 4096 };

  function patterned(byte: number): DirtyBitmap {
    const bytes = new Uint8Array(new ArrayBuffer(Math.ceil(pages / 64) * 8)).fill(byte);
    return DirtyBitmap.over(range, bytes);
  }

  it("has every other page if every other bit is set", () => {
    for (const first of [0, 1]) {
      const bitmap = patterned(0b0101_0101 << first);
      let next = first;
      bitmap.forEachRun((page, length) => {
        assert.ok(page === next && length === 1);
        next += 2;
      });
      assert.equal(next, first === 0 ? pages + 1 : pages);
      assert.equal(bitmap.count(), Math.floor((pages + 1 - first) / 2));
      let count = 0;
      for (const batch of bitmap.pageBatches()) {
        for (let index = 0; index < batch.length; index++) {
          assert.ok(batch[index] === first + 2 * (count + index));
        }
        count += batch.length;
      }
      assert.equal(count, bitmap.count());
    }
  });

  it("is one run if all bits are set", () => {
    const bitmap = patterned(0xff);
    assertSame(bitmap.runs(), [{ iova: range.iova, size: range.size }]);
    assert.equal(bitmap.count(), pages);
    assert.equal(bitmap.difference(bitmap).isEmpty(), true);
  });

  it("goes on where it was while others are gone through", () => {
    const [odd, all] = [patterned(0b1010_1010), patterned(0xff)];
    let seen = 0;
    for (const page of odd.pages()) {
      assert.equal(page, range.iova + BigInt(2 * seen + 1) * 4096n);
      if (++seen % 50000 === 1) {
        assert.equal(all.count(), pages);
        assert.equal(odd.pages().next().value, range.iova + 4096n);
        odd.slice(range.iova, 640n * 4096n).forEachRun((page) => assert.equal(page % 2, 1));
        for (const run of all.runs()) assert.equal(run.size, range.size);
      }
    }
    assert.equal(seen, odd.count());
  });

  it("can be gone through again after a callback that threw", () => {
    const bitmap = patterned(0xff);
    assert.throws(() =>
      bitmap.forEachRun(() => {
        throw new Error("enough");
      }), /enough/);
    assertSame(forEachRun(bitmap), [[0, pages]]);
  });
});
