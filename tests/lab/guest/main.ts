/**
 * What runs in the guest: all cases, one after the other, then the speed.
 *
 * @module
 */

import process from "node:process";
import { cases as dirty } from "./cases/dirty.ts";
import { cases as dirtyCli } from "./cases/dirty_cli.ts";
import { cases as driver } from "./cases/driver.ts";
import { cases as faults } from "./cases/faults.ts";
import { cases as mtty } from "./cases/mtty.ts";
import { cases as probe } from "./cases/probe.ts";
import { cases as processes } from "./cases/process.ts";
import { cases as transfer } from "./cases/transfer.ts";
import { runCases } from "./harness.ts";
import { measure } from "./speed.ts";

const only = process.argv[2] ?? "";
const { passed, failed, skipped } = await runCases([
  ...driver,
  ...probe,
  ...transfer,
  ...faults,
  ...processes,
  ...mtty,
  ...dirtyCli,
  ...dirty,
], only);
if (only === "" || only === "speed") await measure();
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed === 0 && (passed > 0 || only === "speed") ? 0 : 1;
