/**
 * What runs in the guest: all cases, one after the other, then the speed.
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { cases as access } from "./cases/access.ts";
import { cases as bugs } from "./cases/bugs.ts";
import { cases as cdev } from "./cases/cdev.ts";
import { cases as cdevMemory } from "./cases/cdev_memory.ts";
import { cases as check } from "./cases/check.ts";
import { cases as checkBugs } from "./cases/check_bugs.ts";
import { cases as dirty } from "./cases/dirty.ts";
import { cases as dirtyCli } from "./cases/dirty_cli.ts";
import { cases as driver } from "./cases/driver.ts";
import { cases as faults } from "./cases/faults.ts";
import { cases as guests } from "./cases/guests.ts";
import { cases as handOver } from "./cases/hand_over.ts";
import { cases as hwpt } from "./cases/hwpt.ts";
import { cases as live } from "./cases/live.ts";
import { cases as liveProtect } from "./cases/live_protect.ts";
import { cases as imports } from "./cases/import.ts";
import { cases as list } from "./cases/list.ts";
import { cases as log } from "./cases/log.ts";
import { cases as mtty } from "./cases/mtty.ts";
import { cases as notes } from "./cases/notes.ts";
import { cases as opening } from "./cases/opening.ts";
import { cases as probe } from "./cases/probe.ts";
import { cases as processes } from "./cases/process.ts";
import { cases as readBack } from "./cases/read_back.ts";
import { cases as runningVmm } from "./cases/running_vmm.ts";
import { cases as served } from "./cases/served.ts";
import { cases as several } from "./cases/several.ts";
import { cases as trace } from "./cases/trace.ts";
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

const RUN = "/run/lab";
const { values: { long, once }, positionals: [only = ""] } = parseArgs({
  allowPositionals: true,
  options: {
    long: { type: "boolean", default: false },
    once: { type: "boolean", default: false },
  },
});
const before: readonly string[] = JSON.parse(readFileSync(`${RUN}/shown.json`, "utf8"));

const tally = await runCases([
  ...driver,
  ...probe,
  ...list,
  ...imports,
  ...runningVmm,
  ...access,
  ...opening,
  ...transfer,
  ...faults,
  ...bugs,
  ...processes,
  ...mtty,
  ...v2Driver,
  ...v2Transfer,
  ...v2Precopy,
  ...v2Faults,
  ...v2Images,
  ...notes,
  ...v2Process,
  ...trace,
  ...readBack,
  ...served,
  ...several,
  ...live,
  ...liveProtect,
  ...guests,
  ...log,
  ...check,
  ...checkBugs,
  ...cdev,
  ...cdevMemory,
  ...hwpt,
  ...handOver,
  ...dirtyCli,
  ...dirty,
], { only, long, once, shown: before });
// Measured once: kernels are not compared.
if (before.length === 0 && (only === "" || only === "speed")) await measure();
const release = readFileSync("/proc/sys/kernel/osrelease", "utf8").trim();
writeFileSync(`${RUN}/result.json`, JSON.stringify({ release, ...tally, has: kernelHas() }));
const { passed, failed, skipped } = tally;
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed === 0 && (passed > 0 || only === "speed") ? 0 : 1;
