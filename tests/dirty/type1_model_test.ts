import { describe, it } from "node:test";
import { DirtyRangeError } from "../../src/dirty/range_error.ts";
import assert from "node:assert/strict";
import fc from "fast-check";
import { dirtyPages, pages, pinnedPages, range, withSession } from "./_session.ts";

/** What may happen; pages are numbered from 0 on. */
type Step =
  | { readonly kind: "map" | "unmap"; readonly first: number; readonly count: number }
  | { readonly kind: "write" | "pin" | "unpin"; readonly page: number }
  | { readonly kind: "read"; readonly twice: boolean };

const PAGES = 300;

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("map" as const, "unmap" as const),
    first: fc.nat(PAGES - 1),
    count: fc.integer({ min: 1, max: 90 }),
  }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("write" as const, "write" as const, "pin" as const, "unpin" as const),
      page: fc.nat(PAGES - 1),
    }),
  },
  fc.record({ kind: fc.constant("read" as const), twice: fc.boolean() }),
);

/** A naive model: one set of dirty pages, pins counted, mappings in a list. */
class Model {
  readonly mappings: { first: number; count: number }[] = [];
  readonly pins = new Map<number, number>();
  dirty = new Set<number>();

  at(page: number): boolean {
    return this.mappings.some(({ first, count }) => first <= page && page < first + count);
  }

  inside(first: number, count: number): { first: number; count: number }[] {
    return this.mappings.filter((m) => m.first < first + count && first < m.first + m.count);
  }

  read(): number[] {
    const pages = [...this.dirty].sort((a, b) => a - b);
    this.dirty = new Set(this.pins.keys());
    return pages;
  }
}

describe("the tracker over the simulated IOMMU", () => {
  it("reports what a naive model does, whatever is mapped, written, pinned and read", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        withSession("", { map: [range(400, 90)] }, ({ session, kernel, write }) => {
          const { tracker, space: container, memory } = session;
          const { dma } = kernel.devices[0]!;
          const model = new Model();
          tracker.start();
          for (const item of steps) {
            switch (item.kind) {
              case "map": {
                const { first, count } = item;
                if (model.inside(first, count).length > 0) break;
                // All of them show the same memory: what is in it does not matter here.
                container.map({ ...range(first, count), vaddr: memory!.address, flags: 3 });
                model.mappings.push({ first, count });
                break;
              }
              case "unmap": {
                const { first, count } = item;
                const inside = model.inside(first, count);
                if (inside.some((m) => m.first < first || m.first + m.count > first + count)) {
                  assert.throws(
                    () => tracker.unmapWithDirty(pages(first), pages(count)),
                    DirtyRangeError,
                  );
                  break;
                }
                const gone = (page: number): boolean => first <= page && page < first + count;
                const expected = [...model.dirty].filter(gone).sort((a, b) => a - b);
                const { reading, unmapped } = tracker.unmapWithDirty(pages(first), pages(count));
                assert.deepEqual(dirtyPages(reading), expected);
                assert.equal(unmapped, pages(inside.reduce((sum, m) => sum + m.count, 0)));
                for (const m of inside) model.mappings.splice(model.mappings.indexOf(m), 1);
                for (const page of expected) model.dirty.delete(page);
                for (const page of model.pins.keys()) if (gone(page)) model.pins.delete(page);
                break;
              }
              case "write":
                if (!model.at(item.page)) {
                  assert.throws(() => write(item.page), { code: "EINVAL" });
                  break;
                }
                write(item.page);
                model.dirty.add(item.page);
                break;
              case "pin":
                if (!model.at(item.page)) break;
                dma.pin(pages(item.page), 1);
                model.pins.set(item.page, (model.pins.get(item.page) ?? 0) + 1);
                model.dirty.add(item.page);
                break;
              case "unpin": {
                const count = model.pins.get(item.page);
                if (count === undefined) break;
                dma.unpin(pages(item.page), 1);
                if (count === 1) model.pins.delete(item.page);
                else model.pins.set(item.page, count - 1);
                break;
              }
              case "read": {
                const pinned = [...model.pins.keys()].sort((a, b) => a - b);
                const expected = model.read();
                const reading = tracker.read({ twice: item.twice });
                assert.deepEqual(dirtyPages(reading), expected);
                if (item.twice) assert.deepEqual(pinnedPages(reading), pinned);
                assert.deepEqual(reading.lost, []);
              }
            }
          }
        });
      }),
      { numRuns: 150 },
    );
  });
});
