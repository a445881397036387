// Errors are data: what went wrong is a class and a code, and what to do is a structured hint.
// These tests read the sources, as nothing else shows what a program does not do.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import { describe, it } from "node:test";

const root = new URL("../../", import.meta.url);

/** The TypeScript files below a folder, and what is in them without comments. */
function sources(folder: string): [path: string, text: string][] {
  return fs.readdirSync(new URL(folder, root), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory()) return sources(`${path}/`);
    if (!path.endsWith(".ts")) return [];
    const text = fs.readFileSync(new URL(path, root), "utf8");
    return [[path, text.replace(/\/\*\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "")]];
  });
}

/** What a pattern finds in files, each once and in one line; files may get other names. */
function found(folders: readonly string[], pattern: RegExp): string[] {
  const all = folders.flatMap(sources).flatMap(([, text]) =>
    [...text.matchAll(pattern)].map(([all]) => all.replace(/\s+/g, " ").trim())
  );
  return [...new Set(all)].sort();
}

/** The beginnings of plain Errors, and why each is no error that a caller can meet and handle. */
const PLAIN_ERRORS: Readonly<Record<string, string>> = {
  "new Error(String(error)": "wraps what is no error at all",
  "new Error(String(each)": "wraps what is no error at all",
  "new Error(message)": "gets its class by its name",
  "new Error(event.error)": "replays an error of the recorded program",
  "new Error( `Cannot load libc": "the system is not Linux",
  "new Error( `it has": "is the cause of a ReadBackError",
  'new Error("it is out of memory"': "becomes the reason why a thread has ended",
  // The rest are mistakes of this library, if they ever come.
  'new Error("Cannot go on': "a thread of this library has failed",
  'new Error("Cannot check with two threads': "the second thread is missing",
  'new Error("Cannot publish a slot': "a slot is used twice",
  'new Error("Cannot release a slot': "a slot is used twice",
  'new Error("Cannot make a frame': "a slot has no room for a batch",
  "new Error(`Cannot restore a frame": "a frame that this library has made is broken",
  "new Error(`Cannot write a frame": "a frame that this library has made is broken",
  'new Error("Cannot load a batch': "a step of a phase comes out of turn",
  'new Error("Cannot end the restore': "a step of a phase comes out of turn",
  "new Error(`Cannot ask for": "a request comes before the device is open",
  "new Error(`Cannot serve": "a request comes before the device is open",
};

/** Command lines of other programs, and options of the kernel, that the library's hints name. */
const OTHER_OPTIONS: readonly string[] = ["--device"];

describe("the library's errors", () => {
  it("are plain Errors only if no caller can handle them", () => {
    const errors = found(["src/"], /(?<![\w.])new Error\([^;]*?[,;)]/g);
    const known = Object.keys(PLAIN_ERRORS);
    assert.deepEqual(errors.filter((each) => !known.some((one) => each.startsWith(one))), []);
    assert.deepEqual(known.filter((one) => !errors.some((each) => each.startsWith(one))), []);
  });

  it("name no options of a command line", () => {
    const strings = /(["'`])(?:\\.|(?!\1)[^\\\n])*?(--[a-z][a-z-]+)(?:\\.|(?!\1)[^\\\n])*\1/g;
    const options = sources("src/").flatMap(([path, text]) =>
      [...text.matchAll(strings)].map(([, , option]) => [path, option!] as const)
    );
    assert.deepEqual(options.filter(([, option]) => !OTHER_OPTIONS.includes(option)), []);
    assert.ok(options.length > 0, "the pattern finds those of other programs");
  });
});

it("no message is taken apart or compared to decide something", () => {
  const taken =
    /.*(?:\bmessage\.(?:includes|startsWith|endsWith|indexOf|match|search|replace\w*|slice|split|substring)\(|\.(?:test|exec)\((?:\w+\.)?message\)).*/g;
  assert.deepEqual(found(["src/", "cli/"], taken), [
    // Deno has no code for some errors of node:fs.
    "const number = /\\(os error (\\d+)\\)/.exec(message)?.[1];",
    // Bun puts lines of source around the message of a thread's error.
    "return /^error: (.*)$/m.exec(message)?.[1] ?? message;",
  ]);
});
