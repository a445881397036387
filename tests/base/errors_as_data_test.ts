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

/** Where a pattern is found: each file, with what was found. */
function found(folders: readonly string[], pattern: RegExp): Record<string, string[]> {
  const all = folders.flatMap(sources).map(([path, text]) =>
    [path, [...text.matchAll(pattern)].map(([all]) => all.trim())] as const
  );
  return Object.fromEntries(all.filter(([, matches]) => matches.length > 0));
}

/** Files that make a plain Error, and why: it is no error that a caller can meet and handle. */
const PLAIN_ERRORS: Readonly<Record<string, string>> = {
  "src/base/cleanup.ts": "wraps what is no error at all",
  "src/base/error_transfer.ts": "gets its class by its name",
  "src/kernel/libc/calls_with_errno.ts": "the system is not Linux",
  "src/dirty/log/_log_errors.ts": "wraps what is no error at all",
  "src/dirty/type1/_type1_read.ts": "wraps what is no error at all",
  "src/checkpoint/file/_file_read_back.ts": "is the cause of a ReadBackError",
  // The rest are mistakes of this library, if they ever come.
  "src/checkpoint/pipeline/_multiplexer.ts": "a frame that this library has made is broken",
  "src/checkpoint/pipeline/frame_consumer.ts": "a frame that this library has made is broken",
  "src/checkpoint/pipeline/frame_producer.ts": "a slot has no room for a batch",
  "src/checkpoint/pipeline/io_thread.ts": "a thread of this library has failed",
  "src/checkpoint/pipeline/ring.ts": "a slot is used twice",
  "src/check/groups/concurrency.ts": "the second thread is missing",
  "src/check/thread/host.ts": "a thread of this library has failed",
  "src/migration/protocol/protocol_engine.ts": "a step of a phase comes out of turn",
  "src/migration/thread/host.ts": "a request comes before the device is open",
  "src/migration/thread/serve_device.ts": "a request comes before the device is open",
  "src/trace/replay/replayed_calls.ts": "replays an error of the recorded program",
  "src/transfer/_checkpoint_input.ts": "a thread of this library has failed",
  "src/transfer/_checkpoint_output.ts": "a thread of this library has failed",
};

/** Command lines of other programs, and options of the kernel, that the library's hints name. */
const OTHER_OPTIONS: readonly string[] = ["--device"];

describe("the library's errors", () => {
  it("are plain Errors only where no caller can handle them", () => {
    const files = Object.keys(found(["src/"], /(?<![\w.])new Error\(/g));
    assert.deepEqual(files.sort(), Object.keys(PLAIN_ERRORS).sort());
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
    /\bmessage\.(?:includes|startsWith|endsWith|indexOf|match|search|replace\w*|slice|split|substring)\(|\.(?:test|exec)\((?:\w+\.)?message\)/g;
  assert.deepEqual(found(["src/", "cli/"], taken), {
    // Bun puts lines of source around the message of a thread's error.
    "src/migration/thread/thread.ts": [".exec(message)"],
    // Deno has no code for some errors of node:fs.
    "src/trace/file/trace_file.ts": [".exec(message)"],
  });
});
