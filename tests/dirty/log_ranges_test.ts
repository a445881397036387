import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { alignOut, rangesToLog } from "../../src/dirty/log/_log_ranges.ts";
import { encloses } from "../../src/vfio/dma/iova.ts";
import { range } from "./_session.ts";

const UNIT = 64n * 4096n;

/** Mappings by ascending iova: gaps and sizes in pages. */
const mappings = fc.array(fc.tuple(fc.nat(500), fc.integer({ min: 1, max: 200 })), {
  minLength: 1,
  maxLength: 40,
}).map((steps) => {
  let at = 0;
  return steps.map(([gap, count]) => {
    const mapping = range(at + gap, count);
    at += gap + count;
    return mapping;
  });
});

describe("the ranges to log", () => {
  it("have every mapping in one of them, in whole units and apart, no more than wanted", () => {
    fc.assert(fc.property(mappings, fc.integer({ min: 1, max: 20 }), (given, most) => {
      const ranges = rangesToLog(given, UNIT, most);
      assert.ok(ranges.length >= 1 && ranges.length <= most);
      for (const mapping of given) {
        const around = alignOut(mapping, UNIT);
        assert.ok(encloses(around, mapping));
        assert.equal(ranges.filter((one) => encloses(one, around)).length, 1);
      }
      ranges.forEach(({ iova, size }, index) => {
        assert.equal((iova | size) % UNIT, 0n);
        const before = ranges[index - 1];
        assert.ok(before === undefined || before.iova + before.size < iova);
      });
    }));
  });

  it("log as little that is not mapped as can be: the smallest gaps are closed", () => {
    fc.assert(fc.property(mappings, fc.integer({ min: 1, max: 20 }), (given, most) => {
      const all = rangesToLog(given, UNIT, given.length);
      const gaps = all.slice(1).map(({ iova }, index) =>
        iova - all[index]!.iova - all[index]!.size
      );
      const closed = gaps.sort((a, b) => a < b ? -1 : 1).slice(0, Math.max(0, all.length - most));
      const sum = (ranges: readonly { size: bigint }[]): bigint =>
        ranges.reduce((bytes, { size }) => bytes + size, 0n);
      const added = closed.reduce((bytes, gap) => bytes + gap, 0n);
      assert.equal(sum(rangesToLog(given, UNIT, most)), sum(all) + added);
    }));
  });

  it("leave out what reaches the last address, as the kernel does not take it", () => {
    const last = { iova: 2n ** 64n - 4096n, size: 4096n };
    assert.deepEqual(rangesToLog([range(0, 1), last], UNIT), [range(0, 64)]);
    assert.deepEqual(rangesToLog([last], UNIT), []);
  });
});
