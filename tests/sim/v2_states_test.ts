import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import {
  nextHop,
  PRE_COPY,
  PRE_COPY_P2P,
  RESUMING,
  RUNNING,
  RUNNING_P2P,
  STOP,
  STOP_COPY,
} from "../../src/sim/v2/v2_states.ts";
import { askStateTable } from "../migration/v2_cases/state_table.ts";
import { V2Client } from "./_v2_client.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

for (const personality of ["stop-copy-only", "pds", "hisi", "mlx5"]) {
  describe(`the states of sim:${personality}`, () => {
    it("are left only along the driver's arcs, by the shortest path; others are refused", () => {
      askStateTable(() => {
        const calls = V2Client.of(`${personality}?size=16KiB`);
        return {
          calls,
          violations: () => calls.device.violations,
          [Symbol.dispose]: () => calls.close(),
        };
      });
    });

    it("are left only as far as the first arc that fails", () => {
      for (let n = 1; n <= 4; n += 1) {
        using client = V2Client.of(`${personality}?size=16KiB&fault=transition:${n}:EIO`);
        const way = [RUNNING];
        while (way.at(-1) !== STOP_COPY) way.push(nextHop(way.at(-1)!, STOP_COPY, client.flags)!);
        if (n < way.length) {
          refused("EIO", () => client.go(STOP_COPY));
          assert.equal(client.v2State, way[n - 1]);
        } else client.go(STOP_COPY);
      }
    });
  });
}

describe("the states of simulated v2 devices", () => {
  it("do not lead from STOP_COPY back to PRE_COPY", () => {
    for (const to of [PRE_COPY, PRE_COPY_P2P]) {
      using client = V2Client.of("mlx5");
      client.go(STOP_COPY);
      refused("EINVAL", () => client.go(to));
      assert.deepEqual(client.device.violations, [
        `${to === PRE_COPY ? "PRE_COPY" : "PRE_COPY_P2P"} was asked for in STOP_COPY`,
      ]);
    }
  });

  it("lead from ERROR to RUNNING only by a reset", () => {
    using client = V2Client.of("mlx5?fault=error-state:1");
    refused("EIO", () => client.go(STOP));
    refused("EINVAL", () => client.go(RUNNING));
    client.reset();
    assert.equal(client.v2State, RUNNING);
  });

  it("let the device change while it runs, and not while it is stopped", () => {
    let now = 0;
    const clocked = V2Client.withClock(() => now, "mlx5?size=64KiB&rate=4KiB");
    using client = clocked;
    const changes = (state: number): boolean => {
      client.go(state);
      const before = client.device.checksum();
      now += 1000;
      return before !== client.device.checksum();
    };
    const running = [RUNNING, PRE_COPY, PRE_COPY_P2P, RUNNING_P2P];
    assert.deepEqual(running.map(changes), [true, true, true, true]);
    assert.deepEqual([STOP, STOP_COPY, RESUMING].map(changes), [false, false, false]);
  });
});
