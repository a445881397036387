/**
 * The checks of limits, ten times in a row on one device of each protocol, in one process: ten
 * times the sessions, and nothing is left behind. The last line says how many checks failed.
 *
 * @module
 */

import * as fs from "node:fs";
import process from "node:process";
import { check } from "../../src/check/mod.ts";

const TIMES = 10;
/** Files that the runtime may open meanwhile. */
const FEW = 20;

const openFiles = (): number => fs.readdirSync("/proc/self/fd").length;

let run = 0;
let failed = 0;
const before = openFiles();
for (const name of ["sim:mlx5?size=64KiB", "sim:trapped?size=64KiB"]) {
  for (let time = 0; time < TIMES; time += 1) {
    for await (const { id, outcome, seen } of check(name, { only: ["limits"], safety: "reset" })) {
      if (outcome === "skip") continue;
      run += 1;
      if (outcome === "pass") continue;
      failed += 1;
      console.log(`${outcome} ${id} of ${name}: ${seen}`);
    }
  }
}
const left = openFiles() - before;
if (left > FEW) {
  failed += 1;
  console.log(`${left} files are still open`);
}
console.log(`${run} checks of limits, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
