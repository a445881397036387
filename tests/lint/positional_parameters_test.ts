import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import plugin, { EXCEPTIONS } from "./positional_parameters.ts";

const root = path.join(import.meta.dirname!, "../..");

const skip = "Deno" in globalThis ? false : "deno lint runs in Deno only";

/** Lints code as if it were a file of the project; how many functions are reported. */
function reported(file: string, code: string): number {
  return Deno.lint.runPlugin(plugin, path.join(root, file), code).length;
}

describe("the rule about positional parameters", () => {
  it("is in force", () => {
    const { lint } = JSON.parse(fs.readFileSync(path.join(root, "deno.json"), "utf8"));
    assert.deepEqual(lint.plugins, ["./tests/lint/positional_parameters.ts"]);
  });

  it("has no exception that is not needed", { skip }, () => {
    for (const file of Object.keys(EXCEPTIONS)) {
      const code = fs.readFileSync(path.join(root, file), "utf8");
      // The same code by another name has no exception.
      assert.notEqual(reported(`${file.slice(0, -".ts".length)}_.ts`, code), 0, file);
    }
  });

  it("reports each kind of function", { skip }, () => {
    for (
      const code of [
        "function f(a, b, c, d, e) {}",
        "const f = (a, b, c, d, e = 1) => {};",
        "const f = function (a, b, c, d, ...e) {};",
        "class C { constructor(a, b, c, d, e) {} }",
        "class C { #m(a, b, c, d, e) {} }",
        "abstract class C { abstract m(a: 1, b: 1, c: 1, d: 1, e: 1): void; }",
        "interface I { m(a: 1, b: 1, c: 1, d: 1, e: 1): void }",
        "type F = (a: 1, b: 1, c: 1, d: 1, e: 1) => void;",
      ]
    ) {
      assert.equal(reported("src/vfio/x.ts", code), 1, code);
      assert.equal(reported("tests/x.ts", code), 0, code);
    }
    assert.equal(reported("cli/x.ts", "function f(a, b, c, { d, e }) {}"), 0);
  });
});
