import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CHECKS, GROUPS, RULES, UNCHECKED } from "../../src/check/mod.ts";
import { documented, lists, plain } from "./_doc.ts";

describe("the rules", () => {
  it("have each a check, or a reason why not", () => {
    const checked = new Set(CHECKS.flatMap(({ rules }) => rules.map(({ number }) => number)));
    const missing = [...RULES.keys()]
      .filter((number) => !checked.has(number) && !UNCHECKED.has(number));
    assert.deepEqual(missing, []);
    assert.deepEqual([...UNCHECKED.keys()].filter((number) => checked.has(number)), []);
  });

  it("are numbered from 1 on, and each has a source", () => {
    assert.deepEqual([...RULES.keys()], [...RULES.keys()].map((_, index) => index + 1));
    for (const { text, source } of RULES.values()) {
      assert.match(text, /\.$/);
      assert.match(
        source,
        /^(linux\/vfio\.h|drivers\/vfio\/vfio_main\.c|Documentation\/|practice)/,
      );
    }
  });
});

describe("the checks", () => {
  it("are of known groups, by safety level and group", () => {
    const order = CHECKS.map(({ safety, group }) =>
      ["default", "reset", "destructive"].indexOf(safety) * 100 +
      (GROUPS as readonly string[]).indexOf(group)
    );
    assert.deepEqual(order, [...order].sort((a, b) => a - b));
    assert.ok(CHECKS.every(({ group }) => (GROUPS as readonly string[]).includes(group)));
  });

  it("stand in docs/check.md with their rules; tests/check/_doc.ts writes them", () => {
    assert.equal(plain(documented()), plain(lists()));
  });
});
