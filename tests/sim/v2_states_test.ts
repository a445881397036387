import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/error.ts";
import {
  ERROR,
  nextHop,
  PRE_COPY,
  PRE_COPY_P2P,
  RESUMING,
  RUNNING,
  RUNNING_P2P,
  STOP,
  STOP_COPY,
} from "../../src/sim/_v2_states.ts";
import { V2Client } from "./_v2_client.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

/** A personality for each set of flags, with the arcs that its driver has to take. */
const DRIVERS: Readonly<Record<string, readonly (readonly [number, number])[]>> = {
  "stop-copy-only": [
    [RESUMING, STOP],
    [STOP, RESUMING],
    [STOP, STOP_COPY],
    [STOP_COPY, STOP],
    [RUNNING, STOP],
    [STOP, RUNNING],
  ],
  "pds": [
    [RESUMING, STOP],
    [STOP, RESUMING],
    [STOP, STOP_COPY],
    [STOP_COPY, STOP],
    [RUNNING, RUNNING_P2P],
    [RUNNING_P2P, RUNNING],
    [RUNNING_P2P, STOP],
    [STOP, RUNNING_P2P],
  ],
  "hisi": [
    [RESUMING, STOP],
    [STOP, RESUMING],
    [STOP, STOP_COPY],
    [STOP_COPY, STOP],
    [RUNNING, STOP],
    [STOP, RUNNING],
    [RUNNING, PRE_COPY],
    [PRE_COPY, RUNNING],
    [PRE_COPY, STOP_COPY],
  ],
  "mlx5": [
    [RESUMING, STOP],
    [STOP, RESUMING],
    [STOP, STOP_COPY],
    [STOP_COPY, STOP],
    [RUNNING, RUNNING_P2P],
    [RUNNING_P2P, RUNNING],
    [RUNNING_P2P, STOP],
    [STOP, RUNNING_P2P],
    [RUNNING, PRE_COPY],
    [PRE_COPY, RUNNING],
    [PRE_COPY, PRE_COPY_P2P],
    [PRE_COPY_P2P, PRE_COPY],
    [PRE_COPY_P2P, RUNNING_P2P],
    [RUNNING_P2P, PRE_COPY_P2P],
    [PRE_COPY_P2P, STOP_COPY],
  ],
};

/** The shortest way by arcs, in steps; Infinity where there is none. */
function distance(arcs: readonly (readonly [number, number])[], from: number, to: number): number {
  const steps = new Map([[from, 0]]);
  const queue = [from];
  for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
    for (const [start, end] of arcs) {
      if (start !== at || steps.has(end)) continue;
      steps.set(end, steps.get(at)! + 1);
      queue.push(end);
    }
  }
  return steps.get(to) ?? Infinity;
}

/** Arcs that come with a new data fd. */
const WITH_FD: readonly (readonly [number, number])[] = [
  [RUNNING, PRE_COPY],
  [RUNNING_P2P, PRE_COPY_P2P],
  [STOP, STOP_COPY],
  [STOP, RESUMING],
];

/** All data of a device, to leave RESUMING with. */
function saved(personality: string): Uint8Array<ArrayBuffer> {
  using client = V2Client.of(`${personality}?size=16KiB`);
  client.go(STOP_COPY);
  return client.readAll();
}

for (const [personality, arcs] of Object.entries(DRIVERS)) {
  describe(`the states of sim:${personality}`, () => {
    const states = [...new Set(arcs.flat())];
    const data = saved(personality);

    /** A device brought to a state by the driver's own arcs. */
    function deviceIn(state: number): V2Client {
      const client = V2Client.of(`${personality}?size=16KiB`);
      client.go(state);
      assert.equal(client.v2State, state);
      // What RESUMING is left with has to be whole.
      if (state === RESUMING) client.writeAll(data);
      return client;
    }

    it("are left along the driver's arcs alone, and by the shortest way", () => {
      for (const from of states) {
        for (const to of states) {
          using client = deviceIn(from);
          const flags = client.flags;
          const way: number[] = [from];
          for (let at = from; at !== to;) {
            const next = nextHop(at, to, flags);
            if (next === null) break;
            assert.ok(arcs.some(([start, end]) => start === at && end === next), `${at} ${next}`);
            way.push(at = next);
          }
          if (way.at(-1) === to) {
            assert.equal(way.length - 1, distance(arcs, from, to), way.join(" "));
            client.go(to);
            assert.equal(client.v2State, to);
            const last = [way.at(-2), to];
            const fd = WITH_FD.some(([start, end]) => start === last[0] && end === last[1]);
            if (way.length > 1 && fd) assert.ok(client.kernel.openObjects.length === 4);
            assert.deepEqual(client.device.violations, []);
          } else {
            refused("EINVAL", () => client.go(to));
            assert.equal(client.v2State, from);
            assert.equal(client.device.violations.length, 1);
          }
        }
      }
    });

    it("refuse ERROR, what the driver does not have, and what nobody has", () => {
      const all = [ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P];
      const wrong = [ERROR, ...all.filter((state) => !states.includes(state)), 8, 0xffffffff];
      for (const from of states) {
        using client = deviceIn(from);
        for (const to of new Set(wrong)) refused("EINVAL", () => client.go(to));
        assert.equal(client.v2State, from);
        assert.equal(client.device.violations.length, new Set(wrong).size);
      }
    });

    it("are stopped on the way by an arc that fails, each in its turn", () => {
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
  it("lead from STOP_COPY to nowhere where data would go on", () => {
    for (const to of [PRE_COPY, PRE_COPY_P2P]) {
      using client = V2Client.of("mlx5");
      client.go(STOP_COPY);
      refused("EINVAL", () => client.go(to));
      assert.deepEqual(client.device.violations, [
        `${to === PRE_COPY ? "PRE_COPY" : "PRE_COPY_P2P"} was asked for in STOP_COPY`,
      ]);
    }
  });

  it("lead from ERROR to RUNNING by a reset alone", () => {
    using client = V2Client.of("mlx5?fault=error-state:1");
    refused("EIO", () => client.go(STOP));
    refused("EINVAL", () => client.go(RUNNING));
    client.reset();
    assert.equal(client.v2State, RUNNING);
  });

  it("change the device while it runs, and not while it is stopped", () => {
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
