/**
 * Text from outside, as it may be shown to a person.
 *
 * @module
 */

/**
 * What a terminal or a reader could take for more than text: control characters (C0, DEL, C1),
 * formatting ones such as bidirectional overrides and zero widths, line and paragraph separators,
 * halves of surrogate pairs.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * Text with everything escaped that is no plain character. sysfs, drivers, other programs and the
 * names of files can hold any: a message with one in it would do things to a terminal, or read
 * as another. The errors and reasons of this library make their messages so; their fields
 * hold what was found, as it is.
 *
 * @example
 * ```ts
 * import { printable } from "@vfiokit/vfiokit";
 * import assert from "node:assert/strict";
 *
 * assert.equal(printable("vfio-pci"), "vfio-pci");
 * assert.equal(printable("a\x1b[31mb\n"), "a\\u001b[31mb\\n");
 * assert.equal(printable("\u202eicp"), "\\u202eicp");
 * ```
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (letter) => SHORT[letter] ?? codeOf(letter));
}

function codeOf(letter: string): string {
  const code = letter.codePointAt(0)!;
  return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, "0")}`;
}
