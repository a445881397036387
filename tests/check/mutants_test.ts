import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type BugName, BUGS } from "../../src/sim/faults/bug_table.ts";
import { finds } from "./_bug_checks.ts";
import { carriersOf, judged, specOf } from "./_mutants.ts";
import { shown } from "./_run.ts";

const NAMES = Object.keys(BUGS) as BugName[];
const MUTANTS = NAMES.flatMap((name) =>
  carriersOf(name).map((personality) => [name, personality] as const)
);

describe("a driver with one bug", () => {
  const found: string[] = [];

  for (const [name, personality] of MUTANTS) {
    it(`is found by a check of rule ${BUGS[name].rule}: ${specOf(name, personality)}`, async () => {
      const verdicts = await judged(name, personality);
      const naming = verdicts.filter((verdict) => finds(verdict, name));
      assert.notEqual(naming.length, 0, verdicts.map(shown).join("\n"));
      found.push(`${name} of ${personality}`);
    });
  }

  it("is found, whatever the bug is", (context) => {
    const missed = MUTANTS.map(([name, personality]) => `${name} of ${personality}`)
      .filter((mutant) => !found.includes(mutant));
    const score = `${found.length} of ${MUTANTS.length} drivers with one of ${NAMES.length} bugs`;
    context.diagnostic(`${score} were found, each by its rule`);
    assert.deepEqual(missed, []);
    assert.ok(NAMES.length >= 80);
  });
});
