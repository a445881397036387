/**
 * The most memory that the command line takes, for a large state and a small one.
 */

import * as fs from "node:fs";
import { pipeline, run } from "./_command.ts";
import { compile } from "./_compile.ts";
import type { Row } from "./_row.ts";
import { CLI, type Runtime } from "./_runtime.ts";

/** What is moved: so many devices of so much state each, with what it may take in MiB. */
const LOADS = [
  { devices: 1, size: "4GiB", most: 128 },
  { devices: 8, size: "1GiB", most: 256 },
] as const;

/** The state that what it takes should not grow beyond. */
const SMALL = "64MiB";

/** How much more it may be for the large state. */
const MOST_RATIO = 1.25;

/** Peak memory in MiB of a save, and of the restore that it is piped into. */
async function peaks(
  folder: string,
  peak: string,
  { words }: Runtime,
  devices: number,
  size: string,
): Promise<Record<"save" | "restore", number>> {
  const names = (seed: number): string[] =>
    Array.from(
      { length: devices },
      (_, index) => `sim:mapped?size=${size}&seed=${seed + index}`,
    );
  const measured = (
    name: string,
    ...args: readonly string[]
  ): string[] => [peak, `${folder}/${name}.kib`, ...words, CLI, name, ...args, "--quiet"];
  await run(
    pipeline(
      measured("save", ...names(1), "-o", "-"),
      measured("restore", ...names(1 + devices), "-"),
    ),
  );
  const mib = (name: string): number =>
    Number(fs.readFileSync(`${folder}/${name}.kib`, "utf8")) / 1024;
  return { save: mib("save"), restore: mib("restore") };
}

/** Save and restore of large states; the yardstick is the same of 64 MiB each. */
export async function memoryRows(folder: string, runtime: Runtime): Promise<Row[]> {
  const program = await compile("peak", folder);
  const rows: Row[] = [];
  for (const { devices, size, most } of LOADS) {
    const small = await peaks(folder, program, runtime, devices, SMALL);
    const large = await peaks(folder, program, runtime, devices, size);
    for (const name of ["save", "restore"] as const) {
      const [ours, theirs] = [large[name], small[name]];
      const what = `${devices} ${devices === 1 ? "device" : "devices"} of ${size}`;
      rows.push({
        what: `${runtime.name}: peak memory, ${name} of ${what}`,
        ours,
        theirs,
        yardstick: `of ${SMALL}:`,
        unit: "MiB",
        compared: (ours / theirs).toFixed(2),
        target: `< ${most} MiB, ≤ ${MOST_RATIO}`,
        met: ours < most && ours / theirs <= MOST_RATIO,
        note: null,
      });
    }
  }
  return rows;
}
