#!/usr/bin/env node
/**
 * `npx vfiokit`: the command line as an npm package. Node cannot call libc,
 * and Deno runs no TypeScript from node_modules, so this runs it in Bun: the
 * one on the PATH, else the registry's.
 */

import { spawn, spawnSync } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("./main.ts", import.meta.url));
const here = spawnSync("bun", ["--version"], { stdio: "ignore" }).status === 0;
const [program, ...args] = here ? ["bun", "run", main] : ["npx", "--yes", "bun@1.4.5", "run", main];

// The npx that started this left its own settings behind, for an npx inside to trip over.
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("npm_config_")),
);
const child = spawn(program, [...args, ...process.argv.slice(2)], { stdio: "inherit", env });
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
