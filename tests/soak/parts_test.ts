import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, it } from "node:test";
import { chosenParts, PARTS } from "./parts.ts";

describe("the parts of soak", () => {
  it("have different names, and programs that exist", () => {
    assert.equal(new Set(PARTS.map(({ name }) => name)).size, PARTS.length);
    for (const { programs } of PARTS) {
      for (const { file } of programs) {
        assert.ok(existsSync(new URL(`../../${file}`, import.meta.url)), file);
      }
    }
  });

  it("run in the order of the list, each once; all by default", () => {
    assert.deepEqual(chosenParts([]), PARTS);
    const names = chosenParts(["lab", "mutants", "lab"]).map(({ name }) => name);
    assert.deepEqual(names, ["mutants", "lab"]);
  });

  it("refuse a name that is unknown, and say which there are", () => {
    assert.throws(() => chosenParts(["frob"]), /Cannot run the part "frob": there is mutants, /);
  });
});
