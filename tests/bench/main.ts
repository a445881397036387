/**
 * The benchmark: ours against C, in turns, in one table. It asserts nothing
 * about time: it prints. See `deno task bench --help`.
 *
 * It works in /dev/shm, or in the folder for temporary files where there is none.
 */

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import { NoCompilerError } from "./_compile.ts";
import { formatRows, type Row } from "./_row.ts";
import { type Runtime, runtimes } from "./_runtime.ts";
import { TransferBench } from "./transfer.ts";
import { coresRow } from "./cores.ts";
import { importRows } from "./import.ts";
import { ioctlRows } from "./ioctl.ts";
import { liveDowntimeRows, liveRows, liveStreamsRows } from "./live.ts";
import { memoryRows } from "./memory.ts";
import { type Options, parseOptions, type RowName, USAGE } from "./options.ts";
import { standstillRow } from "./standstill.ts";
import { startupRow } from "./startup.ts";
import { vfioUserRows } from "./vfio_user.ts";

/** What is asked for; where that is help, or cannot be right, the process ends here. */
function askedOptions(): Options {
  try {
    const options = parseOptions(process.argv.slice(2));
    if (options !== null) return options;
    console.log(USAGE);
    process.exit(0);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.error(error.message);
    process.exit(2);
  }
}

const { names, runtimes: runtimeNames, rounds, json } = askedOptions();
const memory = fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const folder = fs.mkdtempSync(`${memory}/vfiokit-bench-`);
process.on("exit", () => fs.rmSync(folder, { recursive: true }));
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  process.on(signal, () => process.exit(code));
}

const transfer = new TransferBench(folder, rounds);

/** The rows that are not about one runtime or the other. */
const ALONE: Partial<Record<RowName, () => Promise<readonly Row[]>>> = {
  "cores": async () => [await coresRow(folder, rounds)],
  "ioctl": () => ioctlRows(folder, rounds),
  "startup": async () => [await startupRow(folder, 3 * rounds)],
};

/** The rows of one runtime. */
async function rowsIn(runtime: Runtime, name: RowName): Promise<readonly Row[]> {
  if (name === "import") return await importRows(folder, runtime, rounds);
  if (name === "memory") return await memoryRows(folder, runtime);
  if (name === "vfio-user") return await vfioUserRows(folder, runtime, rounds);
  if (name === "live") return await liveRows(folder, runtime, rounds);
  if (name === "live-downtime") return await liveDowntimeRows(folder, runtime, rounds);
  if (name === "live-streams") return await liveStreamsRows(folder, runtime, rounds);
  if (name === "standstill") return [await standstillRow(folder, runtime, rounds)];
  return await transfer.rows(runtime, name);
}

try {
  const rows: Row[] = [];
  const found = await runtimes(runtimeNames);
  for (const name of names) {
    const alone = ALONE[name];
    if (alone !== undefined) {
      console.error(`Measuring ${name}`);
      rows.push(...await alone());
      continue;
    }
    for (const runtime of found) {
      console.error(`Measuring ${name} in ${runtime.name}`);
      rows.push(...await rowsIn(runtime, name));
    }
  }
  console.log(json ? JSON.stringify({ rounds, rows }, null, 2) : formatRows(rows));
} catch (error) {
  if (!(error instanceof NoCompilerError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
