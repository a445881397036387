#!/usr/bin/env -S deno run --allow-ffi --allow-read --allow-write --allow-run --allow-env
/**
 * `vfiokit`: the command line. The only file that ends the process.
 *
 * @module
 */

import deno from "../deno.json" with { type: "json" };

// In Deno node:process alone doubles the time that --version takes.
const words = typeof Deno === "undefined"
  ? (await import("node:process")).argv.slice(2)
  : Deno.args;

if (!printedVersion()) {
  const [{ default: process }, { run }, { watchSignals }] = await Promise.all([
    import("node:process"),
    import("./run.ts"),
    import("./signals.ts"),
  ]);
  const signals = watchSignals("vfiokit", (exitCode) => process.exit(exitCode));
  process.exit(await run(words, deno.version, signals));
}

/**
 * The version, if the command line asks for nothing else. Bun's console does not report a full
 * disk.
 */
function printedVersion(): boolean {
  const asked = words.length === 1 && (words[0] === "--version" || words[0] === "-V");
  if (!asked || typeof Deno === "undefined") return false;
  try {
    console.log(deno.version);
    return true;
  } catch {
    // The long way reports why.
    return false;
  }
}
