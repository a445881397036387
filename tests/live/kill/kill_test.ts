import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { KillRuns, runSeed } from "./_runs.ts";

/** How many runs have random kills, in sixes; `deno task soak kills` has a thousand. */
const RUNS = { mlx5: 42, trapped: 6 } as const;
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

    for (let first = 1; first <= RUNS[personality]; first += TOGETHER) {
      const last = first + TOGETHER - 1;
      it(`never leaves two devices running, nor loses state unsaid: seeds ${first}-${last}`, async () => {
        for (let seed = first; seed <= last; seed++) await runSeed(runs, seed, steps);
      });
    }
  });
}
