import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Connection, LiveError } from "../../src/live/mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { intercept } from "../dirty/_session.ts";
import { assertSameMemory, MIB, migrateTo, openSim, resolveDoubt, withFolder } from "./_pair.ts";

const MAPS = [{ iova: MIB, size: 16n * 4096n }];

/** How the connection is used, and where it is to be cut. */
interface Plan {
  /** Cut before this call, counted on both sides; Infinity: never. */
  readonly before: number;
  calls: number;
}

/** Ends the connection at a call; what was sent before may or may not arrive. */
function cutting(ends: [Connection, Connection], plan: Plan): [Connection, Connection] {
  let cut = false;
  const lost = (): LiveError => new LiveError("connection-lost", "The test has cut the connection");
  const count = (): void => {
    plan.calls += 1;
    if (plan.calls - 1 === plan.before) {
      cut = true;
      for (const end of ends) end.close();
    }
    if (cut) throw lost();
  };
  return ends.map((end): Connection => ({
    name: end.name,
    // deno-lint-ignore require-await -- what is thrown must reject
    read: async () => {
      count();
      return end.read();
    },
    // deno-lint-ignore require-await -- what is thrown must reject
    write: async (bytes) => {
      count();
      return end.write(bytes);
    },
    close: () => end.close(),
  })) as [Connection, Connection];
}

/** What a run came to. */
interface Run {
  readonly calls: number;
  readonly runs: "source" | "destination";
}

/** Migrates with the connection cut at one call, resolves doubts, and sees that one device runs. */
async function run(name: string, before: number): Promise<Run> {
  let result: Run | null = null;
  await withFolder(async (folder) => {
    const plan: Plan = { before, calls: 0 };
    const target = new SimKernel(`sim:${name}?size=4KiB&seed=6`);
    // Somebody outside looks at both devices after each call of either to its kernel.
    const referee = (kernel: SimKernel): ReturnType<typeof intercept> =>
      intercept(kernel, (next, fd, request, arg) => {
        const answer = next(fd, request, arg);
        const both = from.kernel.devices[0]!.running && moved(target);
        assert.equal(both, false, `both devices run, cut before call ${before}`);
        return answer;
      });
    let started = false;
    // A device that has not been given anything runs as it was opened.
    const moved = (kernel: SimKernel): boolean => started && kernel.devices[0]!.running;
    const from = await openSim(`${name}?size=4KiB&seed=5`, MAPS);
    await using device = from.device;
    await device.writeMemory(MIB, new Uint8Array(8192).fill(9));
    let looking: ReturnType<typeof setInterval> | null = null;
    const inDoubt = ({ phase, id }: { phase: string; id: string }): void => {
      if (phase === "starting") started = true;
      if (phase !== "in-doubt") return;
      looking ??= setInterval(() => resolveDoubt(folder, id), 5);
    };
    const { source, destination } = await migrateTo(folder, [device], target, {
      source: { downtimeMs: 60_000, onProgress: inDoubt },
      destination: { onProgress: inDoubt },
      over: referee,
      between: (ends) => cutting(ends, plan),
    });
    if (looking !== null) clearInterval(looking);
    const arrived = destination.status === "fulfilled";
    const running = [from.kernel.devices[0]!.running, arrived && target.devices[0]!.running];
    assert.equal(source.status, destination.status, `cut before call ${before}`);
    assert.deepEqual(running, arrived ? [false, true] : [true, false], `cut before call ${before}`);
    if (arrived) {
      await using devices = destination.value.devices;
      await assertSameMemory(device, devices[0]!);
      assert.equal(target.devices[0]!.checksum(), from.kernel.devices[0]!.checksum());
    }
    result = { calls: plan.calls, runs: arrived ? "destination" : "source" };
  });
  return result!;
}

describe("a connection that is cut", () => {
  for (const name of ["mlx5", "trapped"]) {
    it(`at any point leaves one running device, with all of its state: ${name}`, async () => {
      const { calls } = await run(name, Infinity);
      const runs: Run[] = [];
      for (let before = 0; before < calls; before++) runs.push(await run(name, before));
      const ends = new Set(runs.map(({ runs }) => runs));
      assert.deepEqual(ends, new Set(["source", "destination"]));
    });
  }
});
