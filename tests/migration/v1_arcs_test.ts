import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MigrationError } from "../../src/migration/migration_error.ts";
import type { TargetState } from "../../src/vfio/state/states.ts";
import { withSim } from "./_sim.ts";

/** A way to each state, out of RUNNING. */
const WAYS: Readonly<Record<string, readonly TargetState[]>> = {
  "running": [],
  "stop": ["stop"],
  "stop-and-copy": ["stop-and-copy"],
  "pre-copy": ["pre-copy"],
  "resuming": ["resuming"],
};

/** What linux/vfio.h of Linux 5.8 draws, and STOP to RUNNING. */
const DRAWN = [
  ...["stop running", "running stop", "running stop-and-copy", "running pre-copy"],
  ...["running resuming", "stop-and-copy running", "stop-and-copy stop", "pre-copy running"],
  ...["pre-copy stop-and-copy"],
];

describe("a v1 device", () => {
  for (const [from, way] of Object.entries(WAYS)) {
    for (const to of Object.keys(WAYS) as TargetState[]) {
      if (from === to) continue;
      // Half a state is none: RUNNING is refused by the driver then.
      if (from === "resuming" && to === "running") continue;
      const drawn = DRAWN.includes(`${from} ${to}`);
      it(`${drawn ? "goes" : "is never asked to go"} from ${from} to ${to}`, async () => {
        await withSim(["trapped?size=64KiB"], async ({ devices: [device], sims: [sim] }) => {
          for (const step of way) await device!.setState(step);
          const before = sim!.deviceState;
          if (drawn) {
            assert.equal((await device!.setState(to)).state, to);
            return;
          }
          await assert.rejects(device!.setState(to), (error: MigrationError) => {
            assert.equal(error.code, "no-such-arc");
            assert.equal(error.deviceState, from);
            return true;
          });
          assert.equal(sim!.deviceState, before);
        });
      });
    }
  }

  it("whose register shows STOP at open really stops, and runs again", async () => {
    await withSim(["ice?size=64KiB"], async ({ devices: [device], sims: [sim] }) => {
      assert.equal(sim!.running, true);
      assert.equal((await device!.setState("stop")).state, "stop");
      assert.equal(sim!.running, false);
      assert.equal((await device!.setState("running")).state, "running");
      assert.equal(sim!.running, true);
    });
  });

  it("whose register a reset leaves alone really runs after it", async () => {
    for (const state of ["stop", "stop-and-copy", "resuming"] as const) {
      await withSim(["ice?size=64KiB"], async ({ devices: [device], sims: [sim] }) => {
        await device!.setState(state);
        assert.equal((await device!.reset())!.state, "running");
        assert.equal(sim!.running, true);
      });
    }
  });
});
