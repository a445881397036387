import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Safety } from "../../src/check/mod.ts";
import { PERSONALITIES, type PersonalityName } from "../../src/sim/mod.ts";
import { shown, verdictsOf } from "./_run.ts";

const MIGRATABLE = (Object.keys(PERSONALITIES) as PersonalityName[])
  .filter((name) => PERSONALITIES[name].protocol !== null);
const LEVELS: readonly Safety[] = ["default", "reset", "destructive"];

describe("the checks of a simulated driver without a bug", () => {
  for (const name of MIGRATABLE) {
    it(`fail none of ${name}'s, and leave it running`, async () => {
      const { verdicts, lost, kernel } = await verdictsOf([`sim:${name}?size=64KiB`], {
        safety: "destructive",
      });
      const wrong = verdicts.filter(({ outcome }) => outcome === "fail" || outcome === "unclear");
      assert.deepEqual(wrong.map(shown), []);
      assert.equal(lost, null);
      assert.deepEqual(kernel.openObjects, []);
      assert.ok(verdicts.some(({ outcome }) => outcome === "pass"));
    });
  }

  for (const safety of LEVELS) {
    it(`run no check above the safety level ${safety}`, async () => {
      const { verdicts } = await verdictsOf(["sim:mlx5?size=64KiB"], { safety, only: ["arcs"] });
      for (const { safety: level, outcome, id } of verdicts) {
        if (LEVELS.indexOf(level) <= LEVELS.indexOf(safety)) continue;
        assert.equal(outcome, "skip", id);
      }
    });
  }

  it("leave the state of the device as it was, by default", async () => {
    const { kernel } = await verdictsOf(["sim:mlx5?size=64KiB"], {});
    const [device] = kernel.devices;
    const [again] = (await verdictsOf(["sim:mlx5?size=64KiB"], { only: ["identity"] })).kernel
      .devices;
    assert.equal(device!.checksum(), again!.checksum());
  });
});
