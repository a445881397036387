/**
 * What runs in the guest: all cases, one after the other, then the speed.
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { cases as cdev } from "./cases/cdev.ts";
import { cases as dirty } from "./cases/dirty.ts";
import { cases as dirtyCli } from "./cases/dirty_cli.ts";
import { cases as driver } from "./cases/driver.ts";
import { cases as faults } from "./cases/faults.ts";
import { cases as handOver } from "./cases/hand_over.ts";
import { cases as log } from "./cases/log.ts";
import { cases as mtty } from "./cases/mtty.ts";
import { cases as probe } from "./cases/probe.ts";
import { cases as processes } from "./cases/process.ts";
import { cases as several } from "./cases/several.ts";
import { cases as transfer } from "./cases/transfer.ts";
import { cases as v2Driver } from "./cases/v2_driver.ts";
import { cases as v2Faults } from "./cases/v2_faults.ts";
import { cases as v2Images } from "./cases/v2_images.ts";
import { cases as v2Precopy } from "./cases/v2_precopy.ts";
import { cases as v2Process } from "./cases/v2_process.ts";
import { cases as v2Transfer } from "./cases/v2_transfer.ts";
import { runCases } from "./harness.ts";
import { kernelHas } from "./kernel_has.ts";
import { measure } from "./speed.ts";

const { values: { again }, positionals } = parseArgs({
  allowPositionals: true,
  options: { again: { type: "boolean", default: false } },
});
const [only = ""] = positionals;

const { passed, failed, skipped } = await runCases([
  ...driver,
  ...probe,
  ...transfer,
  ...faults,
  ...processes,
  ...mtty,
  ...v2Driver,
  ...v2Transfer,
  ...v2Precopy,
  ...v2Faults,
  ...v2Images,
  ...v2Process,
  ...several,
  ...log,
  ...cdev,
  ...handOver,
  ...dirtyCli,
  ...dirty,
], { only, again });
if (!again && (only === "" || only === "speed")) await measure();
const release = readFileSync("/proc/sys/kernel/osrelease", "utf8").trim();
const result = { release, passed, failed, skipped, has: kernelHas() };
writeFileSync("/run/lab/result.json", JSON.stringify(result));
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed === 0 && (passed > 0 || only === "speed") ? 0 : 1;
