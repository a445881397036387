#!/usr/bin/env node
/**
 * The command line of the npm package. In Node, whose FFI is experimental, this runs it in the Bun or
 * the Deno that is on the PATH, else in the registry's Bun.
 */

import { spawn, spawnSync } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";

const MAIN = new URL("./main.js", import.meta.url);

const RUNTIMES = [
  ["bun", "run"],
  ["deno", "run", "--allow-all", "--quiet", "--node-modules-dir=manual"],
];

if ("Deno" in globalThis || "Bun" in globalThis) await import(MAIN.href);
else runElsewhere();

/** Runs it in another runtime; this process then ends as that one does. */
// deno-lint-ignore explicit-function-return-type -- this is JavaScript
function runElsewhere() {
  const here = RUNTIMES.find(([name]) =>
    spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0
  );
  const [program, ...args] = here ?? ["npx", "--yes", "bun@1.4.5", "run"];
  // The npx that started this left its own settings behind, for an npx inside to trip over.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("npm_config_")),
  );
  const words = [...args, fileURLToPath(MAIN), ...process.argv.slice(2)];
  const child = spawn(program, words, { stdio: "inherit", env });
  // A Ctrl-C reaches the child by itself, which puts the device back before it ends.
  process.on("SIGINT", () => {});
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`vfiokit: Cannot run ${program}: ${error.message}`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal];
  });
}
