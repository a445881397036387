import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { FRAME_HEADER_SIZE } from "../../../src/checkpoint/frames/constants.ts";
import { PAGE_UNIT, parsePageMeta } from "../../../src/checkpoint/frames/page_frame.ts";
import { DeviceMemory, type DirtyTracker } from "../../../src/dirty/mod.ts";
import {
  PAGE_BODY_AT,
  PAGE_SLOT_BYTES,
  PageScan,
  storePages,
} from "../../../src/migration/memory/page_scan.ts";
import { ownPages, ownsAll } from "../../../src/migration/memory/stripes.ts";
import type { IovaMapping } from "../../../src/vfio/dma/iova.ts";
import { CopiedMemory } from "../../dirty/_naive_bitmap.ts";

/** Memory of two parts, which are not neighbours. */
function memoryOf(pages: readonly [number, number]): {
  readonly memory: DeviceMemory;
  readonly bytes: readonly Uint8Array<ArrayBuffer>[];
} {
  const bytes = pages.map((count) => new Uint8Array(new ArrayBuffer(count * PAGE_UNIT)));
  const parts = bytes.map((each, index) => ({
    iova: BigInt(index) << 32n,
    size: BigInt(each.length),
    memory: new CopiedMemory(each),
    offset: 0,
  }));
  return { memory: new DeviceMemory(parts), bytes };
}

/** A tracker that reports what a test says. */
function trackerOf(runs: () => readonly IovaMapping[], pgsize: number = PAGE_UNIT): DirtyTracker {
  const read = (): unknown => ({ runs, verdict: "tracks", lost: [] });
  return { pgsize, read } as unknown as DirtyTracker;
}

/** What was sent, in pages. */
interface Sent {
  readonly memory: number;
  readonly zero: number;
  readonly same: number;
}

/** Sends what is due by a stream to other memory; `deliver` may do that later. */
function send(
  scan: PageScan,
  to: DeviceMemory | null,
  stream = { index: 0, count: 1 },
  deliver = (store: () => void): void => store(),
): Sent {
  const sent = { memory: 0, zero: 0, same: 0 };
  for (;;) {
    const slot = new ArrayBuffer(PAGE_SLOT_BYTES);
    const { head, body, zero, same, done } = scan.fill(slot, stream.index);
    sent.memory += body / PAGE_UNIT;
    sent.zero += zero / PAGE_UNIT;
    sent.same += same / PAGE_UNIT;
    if (head > 0) {
      const at = PAGE_BODY_AT - head + FRAME_HEADER_SIZE;
      const meta = new Uint8Array(slot, at, head - FRAME_HEADER_SIZE).slice();
      const entries = parsePageMeta(meta, body);
      assert.ok(Array.isArray(entries) && entries.every((entry) => ownsAll(entry, stream)));
      assert.ok(body <= PAGE_SLOT_BYTES - PAGE_BODY_AT);
      new Uint8Array(slot, FRAME_HEADER_SIZE).set(meta);
      if (to !== null) deliver(() => storePages(to, slot, meta.length, body));
    }
    if (done) return sent;
  }
}

const pageOf = fc.nat(599).map((page) => ({
  iova: page < 300 ? BigInt(page * PAGE_UNIT) : (1n << 32n) + BigInt((page - 300) * PAGE_UNIT),
  size: BigInt(PAGE_UNIT),
}));

describe("looking through memory", () => {
  for (const lazyHashes of [true, false]) {
    it(`leaves equal memory on the other side: hashes ${lazyHashes ? "late" : "at once"}`, () => {
      const write = fc.record({ at: pageOf, value: fc.constantFrom(0, 1, 2) });
      fc.assert(
        fc.property(fc.array(fc.array(write, { maxLength: 200 }), { maxLength: 5 }), (rounds) => {
          const from = memoryOf([300, 300]);
          const to = memoryOf([300, 300]);
          let dirty: IovaMapping[] = [];
          const tracker = trackerOf(() => dirty);
          const scan = new PageScan(from.memory, { device: 0, tracker, lazyHashes });
          scan.add("all");
          for (const round of rounds) {
            dirty = [];
            for (const { at, value } of round) {
              from.memory.write(at.iova, new Uint8Array(PAGE_UNIT).fill(value));
              dirty.push(at);
            }
            scan.add("dirty");
            send(scan, to.memory);
            assert.deepEqual(to.bytes, from.bytes);
          }
        }),
        { numRuns: 30 },
      );
    });
  }

  it("leaves equal memory if one of several streams arrives before or after another", () => {
    const write = fc.record({ at: pageOf, value: fc.constantFrom(0, 1, 2) });
    const order = fc.array(fc.nat(2), { maxLength: 60 });
    const writes = fc.array(fc.array(write, { maxLength: 200 }), { maxLength: 5 });
    fc.assert(
      fc.property(writes, order, (rounds, order) => {
        const [from, to] = [memoryOf([300, 300]), memoryOf([300, 300])];
        let dirty: IovaMapping[] = [];
        const tracker = trackerOf(() => dirty);
        const scan = new PageScan(from.memory, {
          device: 0,
          tracker,
          lazyHashes: true,
          streams: 3,
        });
        // What is on its way: each stream keeps its own order, and none that of another.
        const way: (() => void)[][] = [[], [], []];
        scan.add("all");
        for (const round of [[], ...rounds]) {
          dirty = [];
          for (const { at, value } of round) {
            from.memory.write(at.iova, new Uint8Array(PAGE_UNIT).fill(value));
            dirty.push(at);
          }
          scan.add("dirty");
          for (const [index, queue] of way.entries()) {
            send(scan, to.memory, { index, count: 3 }, (store) => queue.push(store));
          }
        }
        for (const stream of order) way[stream]!.shift()?.();
        for (const store of way.reverse().flat()) store();
        assert.deepEqual(to.bytes, from.bytes);
      }),
      { numRuns: 30 },
    );
  });

  it("gives each page to one of several streams, at any address", () => {
    const span = fc.record({
      page: fc.oneof(fc.nat(2000), fc.nat(2000).map((at) => 2 ** 52 - 3000 + at)),
      pages: fc.integer({ min: 1, max: 900 }),
      count: fc.integer({ min: 1, max: 16 }),
    });
    fc.assert(
      fc.property(span, ({ page, pages, count }) => {
        const end = page + pages;
        const owners = new Map<number, number>();
        for (let index = 0; index < count; index++) {
          const stream = { index, count };
          let left = { page, end };
          for (let own = ownPages(left, stream); own !== null; own = ownPages(left, stream)) {
            assert.ok(own.page >= left.page && own.end > own.page && own.end <= end);
            for (let at = own.page; at < own.end; at++) {
              assert.equal(owners.has(at), false);
              owners.set(at, index);
            }
            left = { page: own.end, end };
          }
        }
        assert.equal(owners.size, pages);
      }),
      { numRuns: 30 },
    );
  });

  const all = [{ iova: 0n, size: 4n << 12n }];

  it("does not send a page again that is the same", () => {
    const { memory, bytes } = memoryOf([4, 1]);
    bytes[0]!.fill(7, PAGE_UNIT);
    const tracker = trackerOf(() => all);
    const scan = new PageScan(memory, { device: 0, tracker, lazyHashes: false });
    scan.add("all");
    assert.deepEqual(send(scan, null), { memory: 3, zero: 2, same: 0 });
    scan.add("dirty");
    assert.deepEqual(send(scan, null), { memory: 0, zero: 0, same: 4 });
    bytes[0]![4 * PAGE_UNIT - 1] = 6;
    scan.add("dirty");
    assert.deepEqual(send(scan, null), { memory: 1, zero: 0, same: 3 });
  });

  it("with late hashes sends it once more, and then no more", () => {
    const { memory, bytes } = memoryOf([4, 1]);
    bytes[0]!.fill(7, PAGE_UNIT);
    const scan = new PageScan(memory, {
      device: 0,
      tracker: trackerOf(() => all),
      lazyHashes: true,
    });
    scan.add("all");
    assert.deepEqual(send(scan, null), { memory: 3, zero: 2, same: 0 });
    scan.add("dirty");
    assert.deepEqual(send(scan, null), { memory: 3, zero: 0, same: 1 });
    scan.add("dirty");
    assert.deepEqual(send(scan, null), { memory: 0, zero: 0, same: 4 });
  });

  it("knows what it sent, if a page is written to while it is looked at", () => {
    const { memory, bytes } = memoryOf([4, 1]);
    bytes[0]!.fill(7);
    const to = memoryOf([4, 1]);
    const [part] = memory.parts;
    const written = new class extends CopiedMemory {
      override read(offset: number, into: Uint8Array): void {
        super.read(offset, into);
        // Behind a whole page, and not behind the look at its first bytes.
        if (into.length >= PAGE_UNIT) bytes[0]!.fill(8);
      }
    }(bytes[0]!);
    const parts = [{ ...part!, memory: written }, memory.parts[1]!];
    const options = { device: 0, tracker: null, lazyHashes: false };
    const scan = new PageScan(new DeviceMemory(parts), options);
    scan.add("all");
    send(scan, to.memory);
    scan.add("all");
    assert.equal(send(scan, to.memory).memory, 4);
    assert.deepEqual(to.bytes, bytes);
  });

  it("takes a range of the owner's across mappings, but none that is not all mapped", () => {
    const bytes = [2, 3].map((count) => new Uint8Array(new ArrayBuffer(count * PAGE_UNIT)));
    const parts = bytes.map((each, index) => ({
      iova: BigInt((8 + 2 * index) * PAGE_UNIT),
      size: BigInt(each.length),
      memory: new CopiedMemory(each),
      offset: 0,
    }));
    bytes.forEach((each, index) => each.fill(index + 1));
    const options = { device: 0, tracker: null, lazyHashes: false };
    const scan = new PageScan(new DeviceMemory(parts), options);
    const unit = BigInt(PAGE_UNIT);
    // From the end of the first mapping into the second page of the other.
    const { bytes: due } = scan.add([{ iova: 10n * unit - 1n, size: unit + 2n }]);
    assert.equal(due, 3 * PAGE_UNIT);
    const copies = bytes.map((each) => new Uint8Array(new ArrayBuffer(each.length)));
    const to = new DeviceMemory(
      parts.map((part, index) => ({ ...part, memory: new CopiedMemory(copies[index]!) })),
    );
    assert.equal(send(scan, to).memory, 3);
    const first = copies.map((each) => [...each.keys()].filter((at) => at % PAGE_UNIT === 0));
    assert.deepEqual(
      first.map((pages, index) => pages.map((at) => copies[index]![at])),
      [[0, 1], [2, 2, 0]],
    );
    for (
      const range of [
        { iova: 8n * unit - 1n, size: 2n },
        { iova: 13n * unit - 1n, size: 2n },
        { iova: 20n * unit, size: 1n },
        { iova: 8n * unit, size: 0n },
      ]
    ) {
      assert.throws(() => scan.add([range]), { message: /not all of it is mapped/ });
    }
  });

  it("hashes at once if the tracker reports more than what was written, or there is none", () => {
    for (const tracker of [trackerOf(() => all, 65_536), null]) {
      const { memory, bytes } = memoryOf([4, 1]);
      bytes[0]!.fill(7);
      const scan = new PageScan(memory, { device: 0, tracker, lazyHashes: true });
      scan.add("all");
      send(scan, null);
      scan.add("dirty");
      assert.equal(send(scan, null).memory, 0);
    }
  });
});
