import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { checkRanges, mappingsIn } from "../../src/dirty/ranges.ts";
import { range } from "./_session.ts";

const someRange = fc.record({ first: fc.nat(60), count: fc.integer({ min: 1, max: 20 }) });

function pagesOf(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

describe("ranges", () => {
  it("are sorted, and refused if two share a page", () => {
    fc.assert(fc.property(fc.array(someRange, { maxLength: 5 }), (list) => {
      const ranges = list.map(({ first, count }) => range(first, count));
      const pages = list.flatMap(({ first, count }) => pagesOf(first, count));
      if (new Set(pages).size < pages.length) {
        assert.throws(() => checkRanges(ranges, 4096), { name: "DirtyRangeError" });
        return;
      }
      const sorted = checkRanges(ranges, 4096);
      assert.deepEqual(sorted.map(({ iova }) => iova), ranges.map((r) => r.iova).sort(byNumber));
    }));
  });

  it("may end at 2^64, and not behind it", () => {
    const last = { iova: (1n << 64n) - 4096n, size: 4096n };
    assert.deepEqual(checkRanges([last], 4096), [last]);
    assert.throws(() => checkRanges([{ ...last, size: 8192n }], 4096), /beyond 2\^64/);
  });

  it("are in pages of the size that is asked for", () => {
    assert.throws(
      () => checkRanges([range(1, 16)], 65536),
      /^DirtyRangeError: Cannot use the range of 65536 bytes at 0x1000: it is not in whole pages/,
    );
  });

  it("stand for the mappings in them, and may cut none", () => {
    fc.assert(
      fc.property(fc.array(someRange, { maxLength: 8 }), someRange, (list, { first, count }) => {
        const mappings: { first: number; count: number }[] = [];
        for (const item of list) {
          const taken = mappings.flatMap((mapping) => pagesOf(mapping.first, mapping.count));
          if (!pagesOf(item.first, item.count).some((page) => taken.includes(page))) {
            mappings.push(item);
          }
        }
        mappings.sort((a, b) => a.first - b.first);
        const asked = new Set(pagesOf(first, count));
        const hit = mappings.filter((m) => pagesOf(m.first, m.count).some((p) => asked.has(p)));
        const cut = hit.some((m) => pagesOf(m.first, m.count).some((p) => !asked.has(p)));
        const known = mappings.map((m) => range(m.first, m.count));
        const find = (): unknown => mappingsIn([range(first, count)], known, 4096);
        if (cut) assert.throws(find, /would be cut/);
        else assert.deepEqual(find(), hit.map((m) => range(m.first, m.count)));
      }),
    );
  });
});

function byNumber(a: bigint, b: bigint): number {
  return a < b ? -1 : 1;
}
