import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { printable } from "../../src/base/printable.ts";

describe("printable()", () => {
  const table: readonly (readonly [what: string, text: string, printed: string])[] = [
    ["plain words", "mlx5_vfio_pci 0000:3b:00.1", "mlx5_vfio_pci 0000:3b:00.1"],
    ["letters of any script", "Gerät 装置 جهاز 🎛️", "Gerät 装置 جهاز 🎛️"],
    ["what is escaped already", "a\\u001bb", "a\\u001bb"],
    ["a colour sequence", "\x1b[31mred\x1b[0m", "\\u001b[31mred\\u001b[0m"],
    ["a terminal's title", "\x1b]0;title\x07", "\\u001b]0;title\\u0007"],
    ["the 8-bit CSI and OSC", "\x9b31m\x9d", "\\u009b31m\\u009d"],
    ["lines and tabs", "one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"],
    ["NUL and DEL", "\0\x7f", "\\u0000\\u007f"],
    ["bidirectional overrides", "a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"],
    ["zero widths", "a\u200bb\ufeffc", "a\\u200bb\\ufeffc"],
    ["other separators of lines", "a\u2028b\u2029c", "a\\u2028b\\u2029c"],
    ["tags beyond the first plane", "a\u{e0041}b", "a\\u{e0041}b"],
    ["half a surrogate pair", "a\ud800b", "a\\ud800b"],
  ];
  for (const [what, text, printed] of table) {
    it(`of ${what}`, () => assert.equal(printable(text), printed));
  }

  it("leaves nothing that a second call would escape", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
      assert.equal(printable(printable(text)), printable(text));
    }));
  });
});
