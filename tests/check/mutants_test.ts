import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type BugName, BUGS } from "../../src/sim/faults/bug_table.ts";
import { isFound, judged, specOf } from "./_mutants.ts";
import { shown } from "./_run.ts";

const NAMES = Object.keys(BUGS) as BugName[];

describe("a driver with one bug", () => {
  const found: BugName[] = [];

  for (const name of NAMES) {
    it(`is found by a check of rule ${BUGS[name].rule}: ${specOf(name)}`, async () => {
      const verdicts = await judged(name);
      const naming = verdicts.filter((verdict) =>
        isFound(verdict) && verdict.rule.number === BUGS[name].rule
      );
      assert.notEqual(naming.length, 0, verdicts.map(shown).join("\n"));
      found.push(name);
    });
  }

  it("is found, whatever the bug is", (context) => {
    context.diagnostic(`${found.length} of ${NAMES.length} bugs found, each by its rule`);
    assert.deepEqual(NAMES.filter((name) => !found.includes(name)), []);
    assert.ok(NAMES.length >= 80);
  });
});
