import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import fc from "fast-check";
import { printable } from "../../src/base/printable.ts";
import { shellEcho, shellFile, shellWord } from "../../src/base/shell.ts";

/** What a shell prints for a command. */
function output(command: string): string {
  return spawnSync("sh", ["-c", command], { encoding: "utf8" }).stdout;
}

/** Any text that an argument of a program can be; newlines at its end are not kept. */
const text = fc.string({
  unit: fc.constantFrom(..."a 'b\"$`\\&;|<>(){}[]*?!#~=%^-+\n\t\x1b\u202eü🎛"),
})
  .filter((letters) => !letters.endsWith("\n"));

describe("text in a shell command", () => {
  it("is one word of it, as it stands, and printable", () => {
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 20 }), (words) => {
        const command = `printf '%s\\0' ${words.map(shellWord).join(" ")}`;
        assert.equal(printable(command), command);
        assert.deepEqual(output(command), words.map((word) => `${word}\0`).join(""));
      }),
      { numRuns: 60 },
    );
  });

  it("is printed as one line", () => {
    for (const line of ["vfio-pci", "-n", "-e", "a\\nb", "", "two words", "it's", "a\tb"]) {
      assert.equal(output(shellEcho(line)), `${line}\n`);
    }
  });

  it("that names a file is no option", () => {
    assert.deepEqual(["a.vfk", "-", "-o x"].map(shellFile), ["a.vfk", "./-", "'./-o x'"]);
  });
});
