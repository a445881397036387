/**
 * Text as a word of a shell command that is printed for a person to run.
 *
 * @module
 */

import { printable } from "./printable.ts";

/** What no shell reads as anything but itself. */
const PLAIN = /^[\w@%+:,./-][\w@%+:,./=-]*$/;

/**
 * Text as one word of a command of a POSIX shell. Names in sysfs, and the names of files and of
 * simulated devices, may have characters that a shell reads, such as `&`, quotes and spaces. What
 * is not printable is left to the shell's `printf`; it drops newlines at the end.
 *
 * @example
 * ```ts
 * import { shellWord } from "./shell.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(shellWord("0000:3b:00.1"), "0000:3b:00.1");
 * assert.equal(shellWord("sim:trapped?size=1MiB&chunk=4KiB"), "'sim:trapped?size=1MiB&chunk=4KiB'");
 * assert.equal(shellWord("it's"), "'it'\\''s'");
 * assert.equal(shellWord("a\nb"), `"$(printf -- 'a\\012b')"`);
 * ```
 */
export function shellWord(text: string): string {
  if (PLAIN.test(text)) return text;
  if (printable(text) === text) return quoted(text);
  const letters = [...text].map((letter) => {
    if (letter === "%" || letter === "\\") return letter + letter;
    return printable(letter) === letter ? letter : octal(letter);
  });
  return `"$(printf -- ${quoted(letters.join(""))})"`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * Text as the name of a file in a command: one that begins with `-` would be read as an option.
 *
 * @example
 * ```ts
 * import { shellFile } from "./shell.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(shellFile("my state.vfk"), "'my state.vfk'");
 * assert.equal(shellFile("-a.vfk"), "./-a.vfk");
 * ```
 */
export function shellFile(path: string): string {
  return shellWord(path.startsWith("-") ? `./${path}` : path);
}

/**
 * A shell command that prints text as a line of its own.
 *
 * @example
 * ```ts
 * import { shellEcho } from "./shell.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(shellEcho("vfio-pci"), "echo vfio-pci");
 * assert.equal(shellEcho("-n"), "printf '%s\\n' -n");
 * ```
 */
export function shellEcho(text: string): string {
  // Some shells' echo takes options and escapes.
  const plain = !text.startsWith("-") && !text.includes("\\");
  return `${plain ? "echo" : "printf '%s\\n'"} ${shellWord(text)}`;
}

/** The bytes of a letter as a shell reads them. */
function octal(letter: string): string {
  return [...new TextEncoder().encode(letter)]
    .map((byte) => `\\${byte.toString(8).padStart(3, "0")}`)
    .join("");
}
