/**
 * A thousand migrations whose sides are killed at random steps: `kills.ts [FIRST-SEED]`.
 *
 * @module
 */

import process from "node:process";
import { KillRuns, runSeed } from "../live/kill/_runs.ts";

const RUNS = 500;
const first = Number(process.argv[2] ?? 1);

for (const personality of ["mlx5", "trapped"] as const) {
  await using runs = await KillRuns.start(personality);
  const { steps } = await runs.run({ source: null, destination: null }, first);
  const all = { source: steps.source!, destination: steps.destination! };
  const ends = new Map<string, number>();
  for (let seed = first; seed < first + RUNS; seed++) {
    const { end } = await runSeed(runs, seed, all);
    ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  const told = [...ends].map(([end, count]) => `${end} ${count}`).join(", ");
  console.log(`${personality}: ${RUNS} runs; the state is at: ${told}`);
}
process.exit(0);
