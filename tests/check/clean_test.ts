import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Safety } from "../../src/check/mod.ts";
import { PERSONALITIES, type PersonalityName } from "../../src/sim/mod.ts";
import { shown, verdictsOf } from "./_run.ts";

const MIGRATABLE = (Object.keys(PERSONALITIES) as PersonalityName[])
  .filter((name) => PERSONALITIES[name].protocol !== null);
const LEVELS: readonly Safety[] = ["default", "reset", "destructive"];

/** What is known of drivers that the personalities are modelled on: the checks that they fail. */
const KNOWN: Readonly<Partial<Record<PersonalityName, readonly string[]>>> = {
  // It loads its data at the step to RUNNING, and a reset leaves its migration state alone.
  ice: [
    "v1.restore.taken-at-once",
    ...["pre-copy", "stop-and-copy", "stop", "resuming"].map((name) => `v1.reset.in-${name}`),
  ],
  // It takes the step to STOP even after it refused a write.
  mtty: ["v2.resume.refused-write"],
};

describe("the checks of a simulated driver without a bug", () => {
  for (const name of MIGRATABLE) {
    it(`fail none of ${name}'s, and leave it running`, async () => {
      const { verdicts, lost, kernel } = await verdictsOf([`sim:${name}?size=64KiB`], {
        safety: "destructive",
      });
      const wrong = verdicts.filter(({ outcome }) => outcome === "fail" || outcome === "unclear");
      const unknown = wrong.filter(({ id }) => !(KNOWN[name] ?? []).includes(id));
      assert.deepEqual(unknown.map(shown), []);
      for (const id of KNOWN[name] ?? []) assert.ok(wrong.some((one) => one.id === id), id);
      assert.equal(lost, null);
      assert.deepEqual(kernel.openObjects, []);
      assert.ok(verdicts.some(({ outcome }) => outcome === "pass"));
    });
  }

  for (const options of ["dma=random:2000/s&rate=64KiB", "reinit=2", "cdev=1"]) {
    it(`fail none of a device's with ${options}`, async () => {
      const { verdicts } = await verdictsOf([`sim:mlx5?size=64KiB&${options}`], {
        safety: "destructive",
        skip: ["arcs", "features"],
      });
      const wrong = verdicts.filter(({ outcome }) => outcome === "fail");
      assert.deepEqual(wrong.map(shown), []);
    });
  }

  it("restore into a second device, and leave both running", async () => {
    const specs = ["sim:mlx5?size=64KiB&rate=64KiB", "sim:mlx5?size=64KiB&seed=9"];
    const { verdicts, kernel } = await verdictsOf(specs, {
      safety: "destructive",
      only: ["round-trip", "resume"],
    });
    const wrong = verdicts.filter(({ outcome }) => outcome === "fail" || outcome === "unclear");
    assert.deepEqual(wrong.map(shown), []);
    assert.deepEqual(kernel.openObjects, []);
  });

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
