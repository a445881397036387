/**
 * Quotes text for shell commands that are printed for the user to run.
 *
 * @module
 */

import { printable } from "./printable.ts";

/** Characters that need no quoting in any shell. */
const PLAIN = /^[\w@%+:,./-][\w@%+:,./=-]*$/;

/**
 * Quotes text as one word for a POSIX shell. Names in sysfs, of files and of simulated devices may
 * contain characters that are special to a shell, such as `&`, quotes and spaces. Unprintable
 * characters are written with the shell's `printf`, which drops newlines at the end.
 *
 * @example
 * ```ts
 * import { shellWord } from "vfiokit/vfio";
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
 * Quotes a file name for a command: a name that begins with `-` would be read as an option.
 *
 * @example
 * ```ts
 * import { shellFile } from "vfiokit/vfio";
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
 * Returns a shell command that prints text as one line.
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
  // The echo of some shells interprets options and escapes.
  const plain = !text.startsWith("-") && !text.includes("\\");
  return `${plain ? "echo" : "printf '%s\\n'"} ${shellWord(text)}`;
}

/** The bytes of a character, as escapes for the shell. */
function octal(letter: string): string {
  return [...new TextEncoder().encode(letter)]
    .map((byte) => `\\${byte.toString(8).padStart(3, "0")}`)
    .join("");
}
