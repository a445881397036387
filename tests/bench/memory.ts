/**
 * The most memory that the command line takes, for a large state and a small one.
 */

import * as fs from "node:fs";
import { output } from "./_command.ts";
import { compile } from "./_compile.ts";
import type { Row } from "./_row.ts";

/** The most that a save or a restore may take, in MiB. */
const MOST_MIB = 200;

/** How much more it may be for the large state. */
const MOST_RATIO = 1.25;

/** Peak memory in MiB of a save, and of the restore that it is piped into. */
async function peaks(
  folder: string,
  peak: string,
  cli: readonly string[],
  size: string,
): Promise<number[]> {
  const script = `
    size=$1 folder=$2 peak=$3; shift 3
    "$peak" "$folder/save.kib" "$@" save "sim:mapped?size=$size&seed=1" -o - --quiet |
      "$peak" "$folder/restore.kib" "$@" restore "sim:mapped?size=$size&seed=2" - --quiet
  `;
  await output(["bash", "-o", "pipefail", "-c", script, "bash", size, folder, peak, ...cli]);
  return ["save", "restore"].map((name) =>
    Number(fs.readFileSync(`${folder}/${name}.kib`, "utf8")) / 1024
  );
}

/** Save and restore of 4 GiB; the yardstick is the same of 64 MiB. */
export async function memoryRows(folder: string, cli: readonly string[]): Promise<Row[]> {
  const program = await compile("peak", folder);
  const small = await peaks(folder, program, cli, "64MiB");
  const large = await peaks(folder, program, cli, "4GiB");
  return ["save", "restore"].map((name, index) => {
    const [ours, theirs] = [large[index]!, small[index]!];
    return {
      what: `peak memory, ${name} of 4 GiB`,
      ours,
      theirs,
      yardstick: "of 64 MiB:",
      unit: "MiB",
      compared: (ours / theirs).toFixed(2),
      target: `< ${MOST_MIB} MiB, ≤ ${MOST_RATIO}`,
      met: ours < MOST_MIB && ours / theirs <= MOST_RATIO,
    };
  });
}
