/**
 * How long the command line takes to say anything.
 */

import * as fs from "node:fs";
import { wallSeconds } from "./_command.ts";
import { interleave } from "./_measure.ts";
import type { Row } from "./_row.ts";
import { CLI, DENO } from "./_runtime.ts";

const MOST_RATIO = 2.5;

/** `vfiokit --version` against a program that does nothing. */
export async function startupRow(folder: string, rounds: number): Promise<Row> {
  const file = `${folder}/empty.ts`;
  fs.writeFileSync(file, "");
  const pair = await interleave(rounds, {
    theirs: async () => await wallSeconds([...DENO.words, file]) * 1000,
    ours: async () => await wallSeconds([...DENO.words, CLI, "--version"]) * 1000,
  });
  return {
    what: "vfiokit --version",
    ...pair,
    yardstick: "empty deno run",
    unit: "ms",
    compared: (pair.ours / pair.theirs).toFixed(2),
    target: `≤ ${MOST_RATIO}`,
    met: pair.ours / pair.theirs <= MOST_RATIO,
    note: null,
  };
}
