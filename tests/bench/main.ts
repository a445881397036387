/**
 * The benchmark: ours against C, in turns, in one table. It asserts nothing
 * about time: it prints. See `deno task bench --help`.
 *
 * It works in /dev/shm, or in the folder for temporary files where there is none.
 */

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import { output } from "./_command.ts";
import { NoCompilerError } from "./_compile.ts";
import { formatRows, type Row } from "./_row.ts";
import { ioctlRows } from "./ioctl.ts";
import { memoryRows } from "./memory.ts";
import { type Options, parseOptions, type Part, USAGE } from "./options.ts";
import { startupRow } from "./startup.ts";
import { type Runtime, transferRows } from "./transfer.ts";

const DENO: readonly string[] = [process.execPath, "run", "-A", "--no-prompt"];
const CLI: readonly string[] = [...DENO, new URL("../../cli/main.ts", import.meta.url).pathname];

/** Bun, where npx can get it. */
async function bun(): Promise<Runtime[]> {
  try {
    const words = ["npx", "--yes", "--package=bun@1.4.5", "--", "sh", "-c", "command -v bun"];
    return [{ name: "Bun", judged: false, words: [(await output(words)).trim()] }];
  } catch {
    console.error("Bun is left out: npx cannot get it");
    return [];
  }
}

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

const { parts, rounds, json } = askedOptions();
const memory = fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const folder = fs.mkdtempSync(`${memory}/vfiokit-bench-`);
process.on("exit", () => fs.rmSync(folder, { recursive: true }));
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  process.on(signal, () => process.exit(code));
}

const measure: Readonly<Record<Part, () => Promise<Row[]>>> = {
  ioctl: () => ioctlRows(folder, rounds),
  transfer: async () =>
    await transferRows(
      folder,
      [{ name: "Deno", judged: true, words: DENO }, ...await bun()],
      rounds,
    ),
  memory: () => memoryRows(folder, CLI),
  startup: async () => [await startupRow(folder, CLI, DENO, 3 * rounds)],
};

try {
  const rows: Row[] = [];
  for (const part of parts) {
    console.error(`Measuring ${part}`);
    rows.push(...await measure[part]());
  }
  console.log(json ? JSON.stringify({ rounds, rows }, null, 2) : formatRows(rows));
} catch (error) {
  if (!(error instanceof NoCompilerError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
