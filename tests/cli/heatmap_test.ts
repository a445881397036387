import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { heat, Heatmap } from "../../cli/output/heatmap.ts";
import { MemoryMap } from "../../cli/dirty/memory_map.ts";

const MAPPINGS = [{ iova: 0x10000n, size: 0x4000n }, { iova: 0x100000n, size: 0xc000n }];
/** 4 pages, and 12. */
const MAP: MemoryMap = new MemoryMap(MAPPINGS, 4096);

describe("the pages of mappings", () => {
  it("are numbered by ascending IOVA, whatever the order of the mappings", () => {
    const map = new MemoryMap(MAPPINGS.toReversed(), 4096);
    assert.deepEqual([map.pages, map.bytes, map.firstPages], [16, 65536, [0, 4]]);
  });

  it("have an IOVA, and the other way round", () => {
    for (let page = 0; page < MAP.pages; page++) assert.equal(MAP.pageAt(MAP.iovaOf(page)), page);
    assert.equal(MAP.iovaOf(4), 0x100000n);
    for (const iova of [0n, 0xffffn, 0x14000n, 0x10c000n]) assert.equal(MAP.pageAt(iova), null);
  });
});

describe("the heatmap", () => {
  it("draws a cell a band, more strongly the more of it is dirty", () => {
    const heatmap = new Heatmap(MAP, 4, false);
    assert.equal(heatmap.line((add) => add(0, 4)), "█");
    assert.equal(heatmap.line((add) => add(15, 1)), "   ▒");
    assert.equal(heatmap.line(() => {}), "");
    assert.equal(heatmap.line((add) => (add(3, 3), add(8, 4))), "▒▓█");
  });

  it("shows one page among very many", () => {
    const map = new MemoryMap([{ iova: 0n, size: 1n << 40n }], 4096);
    assert.equal(new Heatmap(map, 8, false).line((add) => add(0, 1)), "░");
  });

  it("has the first and the last IOVA as its heading, if there is room", () => {
    assert.equal(new Heatmap(MAP, 4, false).heading, "0x10000");
    const wide = new MemoryMap([{ iova: 0n, size: 1n << 20n }], 4096);
    assert.equal(new Heatmap(wide, 20, false).heading, "0x0          0xfffff");
    assert.match(new Heatmap(wide, 20, false).key, /^Each cell is 52\.0 KiB of memory: ░▒▓█ /);
  });

  it("has colours if they are wanted, around the same cells", () => {
    const all = (heatmap: Heatmap): string => heatmap.line((add) => add(0, 16));
    const coloured = all(new Heatmap(MAP, 4, true));
    assert.notEqual(coloured, "████");
    assert.equal(stripVTControlCharacters(coloured), all(new Heatmap(MAP, 4, false)));
  });

  it("is as warm as there are dirty pages", () => {
    assert.deepEqual([heat(0, 100), heat(100, 100), heat(1, 1)], [0, 1, 1]);
    fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 31 }), fc.nat(), (pages, dirty) => {
      const some = Math.min(dirty, pages - 1);
      assert.ok(heat(some, pages) < heat(some + 1, pages) && heat(some + 1, pages) <= 1);
    }));
  });
});
