/**
 * How far the machine's cores are from each other: what a MiB takes that one core fills and another
 * one copies. A save and a restore hand each MiB from one thread to another, the C programs none.
 */

import { run } from "./_command.ts";
import { compile } from "./_compile.ts";
import { interleave } from "./_measure.ts";
import type { Row } from "./_row.ts";

const COUNT = "500";

/** Between two cores, against the same on one. */
export async function coresRow(folder: string, rounds: number): Promise<Row> {
  const program = await compile("cores", folder, "-pthread");
  const measured = async (which: 0 | 1): Promise<number> =>
    Number((await run([program, COUNT])).stdout.split(" ")[which]);
  const pair = await interleave(rounds, { theirs: () => measured(0), ours: () => measured(1) });
  return {
    what: "a MiB from one core to another, in C",
    ...pair,
    yardstick: "on one core",
    unit: "µs",
    compared: `+${Math.round(pair.ours - pair.theirs)} µs`,
    target: null,
    met: null,
    note: null,
  };
}
