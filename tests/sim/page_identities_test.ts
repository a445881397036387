import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { PageIdentities } from "../../src/sim/state/page_identities.ts";

const PAGES = 10_000;
const SEED = 7;

/** Changes of runs of pages: where they begin, how many, and to what. */
const changes = fc.array(
  fc.record({
    first: fc.nat(PAGES - 1),
    count: fc.oneof(fc.nat(3), fc.nat(PAGES)),
    seed: fc.constantFrom(SEED, 8),
    version: fc.constantFrom(0, 1, 0xffffffff),
  }),
  { maxLength: 6 },
);

it("each page has the identity that it was last given", () => {
  fc.assert(
    fc.property(changes, (runs) => {
      const identities = new PageIdentities(PAGES, SEED);
      const expected = Array.from({ length: PAGES }, () => `${SEED} 0`);
      for (const { first, count, seed, version } of runs) {
        for (let page = first; page < Math.min(PAGES, first + count); page += 1) {
          identities.set(page, { seed, version });
          expected[page] = `${seed} ${version}`;
        }
      }
      const found = expected.map((_, page) =>
        `${identities.seed(page)} ${identities.version(page)}`
      );
      assert.deepEqual(found, expected);
      identities.reset();
      assert.deepEqual([identities.seed(9_999), identities.version(9_999)], [SEED, 0]);
    }),
    { numRuns: 50 },
  );
});
