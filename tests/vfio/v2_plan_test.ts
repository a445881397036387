import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hasState, planPath } from "../../src/vfio/state/v2_plan.ts";
import { nextHop } from "../../src/sim/v2/v2_states.ts";
import {
  VFIO_DEVICE_STATE_ERROR as ERROR,
  VFIO_DEVICE_STATE_PRE_COPY as PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P as PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_RUNNING as RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P as RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP as STOP,
  VFIO_DEVICE_STATE_STOP_COPY as STOP_COPY,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
} from "../../src/uapi/mod.ts";
import { V2Client } from "../sim/_v2_client.ts";

const NUMBERS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xffffffff];
const BASE = VFIO_MIGRATION_STOP_COPY;
/** Every set of flags, and a simulated device that has it. */
const FLAGS: readonly (readonly [flags: number, personality: string])[] = [
  [BASE, "stop-copy-only"],
  [BASE | VFIO_MIGRATION_P2P, "pds"],
  [BASE | VFIO_MIGRATION_PRE_COPY, "hisi"],
  [BASE | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY, "mlx5"],
];

/** The kernel's way: hop after hop, as it finds the next one. */
function kernelPath(from: number, to: number, flags: number): number[] | null {
  const path: number[] = [];
  // The kernel says yes to the state that the device is in, but never to ERROR.
  for (let at = from; at !== to || at === ERROR;) {
    const next = nextHop(at, to, flags);
    if (next === null) return null;
    path.push(at = next);
  }
  return nextHop(from, to, flags) === null ? null : path;
}

describe("planPath()", () => {
  for (const [flags, personality] of FLAGS) {
    it(`goes the kernel's way between any two states with flags ${flags}`, () => {
      for (const from of NUMBERS) {
        for (const to of NUMBERS) {
          assert.deepEqual(
            planPath(from, to, flags),
            kernelPath(from, to, flags),
            `${from} to ${to}`,
          );
        }
      }
    });

    it(`is where a step of sim:${personality} is found when its arcs fail one by one`, () => {
      const states = NUMBERS.filter((state) => state !== ERROR && hasState(state, flags));
      // What is left by RESUMING's only arc has to be whole; no state can be had of nothing.
      for (const from of states.filter((state) => state !== RESUMING)) {
        for (const to of states) {
          const path = planPath(from, to, flags);
          if (path === null) continue;
          const before = planPath(RUNNING, from, flags)!.length;
          path.forEach((_, index) => {
            const n = before + index + 1;
            using client = V2Client.of(
              `${personality}?size=16KiB&fault=transition:${n}:EIO`,
            );
            client.go(from);
            assert.throws(() => client.go(to));
            assert.equal(client.v2State, [from, ...path][index], `${from} to ${to}, arc ${n}`);
          });
        }
      }
    });
  }

  it("passes over the states that a device does not have", () => {
    const all = BASE | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY;
    const steps: readonly (readonly [from: number, to: number, flags: number, path: number[]])[] = [
      [RUNNING, STOP_COPY, BASE, [STOP, STOP_COPY]],
      [RUNNING, STOP_COPY, BASE | VFIO_MIGRATION_P2P, [RUNNING_P2P, STOP, STOP_COPY]],
      [PRE_COPY, STOP_COPY, BASE | VFIO_MIGRATION_PRE_COPY, [STOP_COPY]],
      [PRE_COPY, STOP_COPY, all, [PRE_COPY_P2P, STOP_COPY]],
      [RESUMING, RUNNING, all, [STOP, RUNNING_P2P, RUNNING]],
      [RUNNING, PRE_COPY_P2P, all, [RUNNING_P2P, PRE_COPY_P2P]],
      [STOP, STOP, BASE, []],
    ];
    for (const [from, to, flags, path] of steps) {
      assert.deepEqual(planPath(from, to, flags), path);
    }
  });
});
