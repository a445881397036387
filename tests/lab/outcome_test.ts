import assert from "node:assert/strict";
import { it } from "node:test";
import { type Outcome, outcomeTable, outcomeTotal } from "./outcome.ts";

const good: Outcome = {
  kernel: "6.1",
  seconds: 61.4,
  ok: true,
  result: {
    release: "6.1.0-1-amd64",
    passed: 5,
    failed: 0,
    skipped: 2,
    shown: [],
    has: { v1: "yes" },
  },
};

it("outcomeTable has a row for each kernel, and a column for each measure that any of them has", () => {
  const other: Outcome = {
    ...good,
    kernel: "7",
    result: { ...good.result!, release: "7.2", has: { v2: "no" } },
  };
  assert.equal(
    outcomeTable([good, other]),
    [
      "| kernel | release | passed | failed | skipped | seconds | v1 | v2 |",
      "| - | - | - | - | - | - | - | - |",
      "| 6.1 | 6.1.0-1-amd64 | 5 | 0 | 2 | 61 | yes | ? |",
      "| 7 | 7.2 | 5 | 0 | 2 | 61 | ? | no |",
    ].join("\n"),
  );
});

it("outcomeTotal counts a run that broke off, or whose kernel complained, as a failure", () => {
  assert.equal(outcomeTotal([good, good]), "10 passed, 0 failed, 4 skipped");
  assert.equal(outcomeTotal([good, { ...good, ok: false }]), "10 passed, 1 failed, 4 skipped");
  const broken = { ...good, ok: false, result: null };
  assert.equal(outcomeTotal([good, broken]), "5 passed, 1 failed, 2 skipped");
  assert.match(outcomeTable([broken]), /^\| 6.1 \| \? \| \? \| 1 \| \? \| 61 \|$/m);
});
