import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { IN_DENO } from "../../cli/_cli.ts";
import { KillRuns, runSeed } from "./_runs.ts";

/**
 * The seeds of the runs with random kills, in sixes: each runtime has its own, fifty and more in
 * both; `deno task soak kills` has a thousand.
 */
const SEEDS = IN_DENO
  ? { mlx5: [1, 24], trapped: [1, 6] } as const
  : { mlx5: [25, 42], trapped: [7, 12] } as const;
const TOGETHER = 6;

for (const personality of ["mlx5", "trapped"] as const) {
  describe(`a migration of ${personality} whose sides are killed`, () => {
    let runs: KillRuns;
    const steps = { source: 0, destination: 0 };
    before(async () => {
      runs = await KillRuns.start(personality);
    });
    after(async () => {
      await runs[Symbol.asyncDispose]();
    });

    it("ends at the destination, at the source, or with a loss that is said", async () => {
      const whole = await runs.run({ source: null, destination: null }, 0);
      assert.deepEqual([whole.end, whole.killed], ["destination", []]);
      Object.assign(steps, whole.steps);
      const early = await runs.run({ source: null, destination: 40 }, 0);
      assert.deepEqual([early.end, early.killed], ["source", ["destination"]]);
      const lost = await runs.run({ source: 40, destination: null }, 0);
      assert.deepEqual([lost.end, lost.killed], ["lost and said", ["source"]]);
    });

    const [start, end] = SEEDS[personality];
    for (let first = start; first <= end; first += TOGETHER) {
      const last = first + TOGETHER - 1;
      it(`never leaves two devices running, nor loses state unsaid: seeds ${first}-${last}`, async () => {
        for (let seed = first; seed <= last; seed++) await runSeed(runs, seed, steps);
      });
    }
  });
}
