/**
 * The benchmark: ours against C, in turns, in one table. It asserts nothing
 * about time: it prints.
 *
 *     deno run -A tests/bench/main.ts [--json] [--rounds=N] [ioctl|transfer|memory|startup]…
 *
 * Needs gcc, an x86-64 machine, and about 2.5 GiB in /dev/shm (or the folder
 * for temporary files where there is none).
 */

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { output } from "./_command.ts";
import { NoCompilerError } from "./_compile.ts";
import { formatRows, type Row } from "./_row.ts";
import { ioctlRows } from "./ioctl.ts";
import { memoryRows } from "./memory.ts";
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

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean" }, rounds: { type: "string", default: "7" } },
});
const rounds = Number(values.rounds);
const memory = fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const folder = fs.mkdtempSync(`${memory}/vfiokit-bench-`);
process.on("exit", () => fs.rmSync(folder, { recursive: true }));
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  process.on(signal, () => process.exit(code));
}

const parts: Readonly<Record<string, () => Promise<Row[]>>> = {
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
  for (const [name, measure] of Object.entries(parts)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    console.error(`Measuring ${name}`);
    rows.push(...await measure());
  }
  console.log(values.json ? JSON.stringify({ rounds, rows }, null, 2) : formatRows(rows));
} catch (error) {
  if (!(error instanceof NoCompilerError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
