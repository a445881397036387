import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { type BugName, BUGS } from "../../src/sim/faults/bug_table.ts";
import { faultForm, type FaultName, FAULTS } from "../../src/sim/faults/fault_plan.ts";
import { PERSONALITIES } from "../../src/sim/mod.ts";
import { OPTIONS } from "../../src/sim/spec.ts";

const TEXT = fs.readFileSync(
  path.join(import.meta.dirname!, "..", "..", "docs", "simulator.md"),
  "utf8",
);

/** The rows of the table below a heading, as their cells. */
function rowsBelow(heading: string): string[][] {
  const part = TEXT.split(`\n## ${heading}\n`)[1]!.split("\n## ")[0]!;
  return part.split("\n").filter((line) => line.startsWith("|")).slice(2)
    .map((line) =>
      line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim().replaceAll("\\|", "|"))
    );
}

describe("docs/simulator.md lists what the tables have", () => {
  it("personalities", () => {
    const expected = Object.entries(PERSONALITIES)
      .map(([name, { summary }]) => [`\`sim:${name}\``, summary]);
    assert.deepEqual(rowsBelow("Personalities"), expected);
  });

  it("options", () => {
    const expected = Object.entries(OPTIONS)
      .map(([name, { form, text, byDefault }]) => [`\`${name}=${form}\``, text, byDefault]);
    assert.deepEqual(rowsBelow("Options"), expected);
  });

  it("faults", () => {
    const expected = (Object.keys(FAULTS) as FaultName[])
      .map((name) => [`\`fault=${faultForm(name)}\``, FAULTS[name].to, FAULTS[name].text]);
    assert.deepEqual(rowsBelow("Faults"), expected);
  });

  it("bugs", () => {
    const expected = (Object.keys(BUGS) as BugName[]).map((name) => {
      const { to, rule, text } = BUGS[name];
      return [`\`bug=${name}\``, to, String(rule), text];
    });
    assert.deepEqual(rowsBelow("Bugs"), expected);
  });
});
