import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { dirtyPages, pages, range, withSession } from "./_session.ts";

const PAGES = 400;

/** What may happen; pages are numbered from 0 on, mappings too. */
type Step =
  | { readonly kind: "write"; readonly page: number }
  | { readonly kind: "read"; readonly mappings: readonly number[] | null }
  | { readonly kind: "unmap"; readonly mapping: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("write" as const), page: fc.nat(PAGES) }) },
  fc.record({
    kind: fc.constant("read" as const),
    mappings: fc.option(fc.uniqueArray(fc.nat(7), { maxLength: 3 })),
  }),
  fc.record({ kind: fc.constant("unmap" as const), mapping: fc.nat(7) }),
);

/** Some mappings: gaps and pages in turn. */
const layout = fc.array(fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 70 })), {
  minLength: 1,
  maxLength: 8,
});

for (const personality of ["mlx5", "pds"]) {
  describe(`the log of ${personality}, tracked`, () => {
    it("reports what a naive model does, whatever is written, read and unmapped", () => {
      fc.assert(
        fc.property(layout, fc.array(step, { maxLength: 50 }), (gaps, steps) => {
          let at = 0;
          const mappings = gaps.map(([gap, count]) => {
            const first = at + gap;
            at = first + count;
            return { first, count };
          });
          const map = mappings.map(({ first, count }) => range(first, count));
          const options = { personality, map, tracker: "device" } as const;
          withSession(
            "",
            options,
            ({ session: { tracker, space: container, mapped, memory }, write }) => {
              const dirty = new Set<number>();
              const take = (from: readonly typeof mappings[number][]): number[] => {
                const taken = [...dirty].filter((page) =>
                  from.some(({ first, count }) => first <= page && page < first + count)
                );
                for (const page of taken) dirty.delete(page);
                return taken.sort((a, b) => a - b);
              };
              tracker.start();
              for (const item of steps) {
                if (item.kind === "write") {
                  const { page } = item;
                  if (!mappings.some((m) => m.first <= page && page < m.first + m.count)) continue;
                  write(page);
                  dirty.add(page);
                } else if (item.kind === "read") {
                  const wanted = item.mappings === null
                    ? mappings
                    : mappings.filter((_, index) => item.mappings!.includes(index));
                  const ranges = item.mappings === null
                    ? undefined
                    : wanted.map(({ first, count }) => range(first, count));
                  assert.deepEqual(dirtyPages(tracker.read({ ranges })), take(wanted));
                } else {
                  const mapping = mappings[item.mapping];
                  if (mapping === undefined) continue;
                  const size = pages(mapping.count);
                  const { reading, unmapped } = tracker.unmapWithDirty(pages(mapping.first), size);
                  assert.equal(unmapped, size);
                  assert.deepEqual(dirtyPages(reading), take([mapping]));
                  const { offset } = mapped[item.mapping]!;
                  const vaddr = memory!.address + BigInt(offset);
                  container.map({ iova: pages(mapping.first), size, vaddr, flags: 3 });
                }
              }
              assert.deepEqual(dirtyPages(tracker.read()), take(mappings));
            },
          );
        }),
        { numRuns: 60 },
      );
    });
  });
}
