// Every step at which one of several devices can fail, and what becomes of all.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { restore } from "../../src/transfer/restore.ts";
import { save } from "../../src/transfer/save.ts";
import { canHave, parseFault } from "../../src/sim/faults/fault_plan.ts";
import { failure, memorySink, memorySource, withTeam } from "./_several.ts";
import { read } from "../checkpoint/_tools.ts";

const TEAMS: readonly (readonly string[])[] = [
  ["mlx5", "trapped"],
  ["qat", "pds", "mapped"],
  ["stop-copy-only", "hisi"],
];

/** What fails the Nth time. */
const FAULTS: readonly ((nth: number) => string)[] = [
  (nth) => `transition:${nth}:EIO`,
  (nth) => `error-state:${nth}`,
  (nth) => `late-error:${nth}`,
  (nth) => `state-read:${nth}:EIO`,
  (nth) => `read:${nth}:EIO`,
  (nth) => `write:${nth}:EFAULT`,
  (nth) => `load:${nth}:EIO`,
  (nth) => `gone:${nth}`,
];

/** More than any save or restore of these devices has of anything. */
const ENOUGH = 120;

function specs(kinds: readonly string[], seed: number): string[] {
  return kinds.map((kind, index) => `${kind}?size=64KiB&chunk=16KiB&seed=${seed + index}`);
}

/** Every step: a victim of a team, and a fault of its; `run` says whether it struck. */
async function everyStep(
  run: (kinds: readonly string[], victim: number, faults: string) => Promise<boolean>,
  resets: string,
): Promise<number> {
  let struck = 0;
  for (const kinds of TEAMS) {
    for (const victim of kinds.keys()) {
      for (const fault of FAULTS) {
        if (!canHave(kinds[victim] as "mlx5", parseFault(fault(1)).name)) continue;
        let nth = 1;
        while (await run(kinds, victim, `&fault=${fault(nth)}${resets}`)) {
          nth += 1;
          assert.ok(nth < ENOUGH, `${kinds[victim]} always fails by ${fault(nth)}`);
        }
        struck += nth - 1;
      }
    }
  }
  return struck;
}

const RESETS = [
  ["", "its resets succeed"],
  ["&fault=reset:1:EIO&fault=reset:2:EIO&fault=reset:3:EIO", "its resets fail"],
] as const;

for (const [resets, how] of RESETS) {
  describe(`at whatever step one of several devices fails, and ${how},`, () => {
    for (const precopy of [undefined, { maxRounds: 2 }]) {
      it(`a save ${precopy ? "with" : "without"} pre-copy leaves all as it says`, async () => {
        const struck = await everyStep(async (kinds, victim, faults) => {
          const team = specs(kinds, 1);
          team[victim] += faults;
          let failed = false;
          await withTeam(team, async ({ devices }) => {
            const sink = memorySink();
            const error = await failure(save(devices, sink, { precopy }), devices);
            if (sink.state === "committed") assert.equal(read(sink.bytes).error, null);
            if (error === null) return assert.equal(sink.state, "committed");
            failed = true;
            for (const [index, device] of error.devices.entries()) {
              const { state, error: own } = device;
              assert.equal(own !== null, index === victim, error.message);
              if (index !== victim) assert.equal(state, "running", error.message);
            }
            const { state, recovery } = error.devices[victim]!;
            const after = sink.state === "committed";
            // Once the checkpoint is in its place a device is left as it is, unless it is in ERROR.
            if (after) assert.notEqual(recovery, "running");
            else if (state !== "running") assert.equal(error.lost, true, error.message);
            for (const device of devices) {
              for (let tries = 0; tries < 4; tries++) await device.reset().catch(() => {});
            }
          });
          return failed;
        }, resets);
        assert.ok(struck > 60, `${struck} steps`);
      });
    }

    it("a restore leaves all as it says, with the state that they had before", async () => {
      const saved = new Map<readonly string[], Uint8Array>();
      for (const kinds of TEAMS) {
        const sink = memorySink();
        await withTeam(specs(kinds, 1), async ({ devices }) => {
          await save(devices, sink, { precopy: {} });
        });
        saved.set(kinds, sink.bytes);
      }
      const struck = await everyStep(async (kinds, victim, faults) => {
        const team = specs(kinds, 11);
        team[victim] += faults;
        let failed = false;
        await withTeam(team, async ({ devices, sims }) => {
          const before = sims.map((sim) => sim.checksum());
          const source = memorySource(saved.get(kinds)!);
          const error = await failure(restore(devices, source), devices);
          if (error === null) return;
          failed = true;
          for (const [index, device] of error.devices.entries()) {
            const { state, error: own } = device;
            assert.equal(own !== null, index === victim, error.message);
            if (index === victim) continue;
            assert.equal(state, "running", error.message);
            assert.equal(sims[index]!.checksum(), before[index], error.message);
          }
          const { state, recovery } = error.devices[victim]!;
          if (state === "running" && recovery !== "failed") {
            assert.equal(sims[victim]!.checksum(), before[victim], error.message);
          } else {
            assert.equal(error.lost, true, error.message);
          }
          for (const device of devices) {
            for (let tries = 0; tries < 4; tries++) await device.reset().catch(() => {});
          }
        });
        return failed;
      }, resets);
      assert.ok(struck > 60, `${struck} steps`);
    });
  });
}
