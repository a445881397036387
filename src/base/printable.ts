/**
 * Makes text from outside safe to print.
 *
 * @module
 */

/**
 * Characters that are not plain text: control characters (C0, DEL, C1), formatting characters such
 * as bidirectional overrides and zero widths, line and paragraph separators, lone surrogates.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * Escapes every character that is not plain text. sysfs, drivers, other programs and file names can
 * contain any character, and an unescaped one could control a terminal or disguise a message. The
 * errors and reasons of this library escape their messages; their fields hold the original text.
 *
 * @example
 * ```ts
 * import { printable } from "vfiokit";
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
