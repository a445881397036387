import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Connection, LiveError } from "../../src/live/mod.ts";
import { type Ends, faultyRun } from "./_faulty_run.ts";
import { socketPair } from "./_pair.ts";

/** How the connection is used, and where it is to be cut. */
interface Plan {
  /** Cut before this call, counted on both sides; Infinity: never. */
  readonly before: number;
  /** Whether memory goes by the devices' threads. */
  readonly shared: boolean;
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
    socket: plan.shared
      ? {
        // deno-lint-ignore require-await -- what is thrown must reject
        lend: async (use) => {
          count();
          return end.socket!.lend(use);
        },
        get unsent(): number {
          return end.socket!.unsent;
        },
        readable: () => end.socket!.readable(),
        writable: () => end.socket!.writable(),
      }
      : undefined,
    // deno-lint-ignore require-await -- what is thrown must reject
    read: async (into) => {
      count();
      return end.read(into);
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

/** Migrates with the connection cut at one call. */
async function run(name: string, shared: boolean, before: number): Promise<Run> {
  const plan: Plan = { before, shared, calls: 0 };
  const ends: Ends = async (folder) => cutting(await socketPair(folder), plan);
  const runs = await faultyRun(name, ends, `cut before call ${before}`);
  return { calls: plan.calls, runs };
}

describe("a connection that is cut", () => {
  for (const [name, shared] of [["mlx5", true], ["trapped", false]] as const) {
    it(`at any point leaves one running device, with all of its state: ${name}`, async () => {
      const { calls } = await run(name, shared, Infinity);
      const runs: Run[] = [];
      for (let before = 0; before < calls; before++) runs.push(await run(name, shared, before));
      const ends = new Set(runs.map(({ runs }) => runs));
      assert.deepEqual(ends, new Set(["source", "destination"]));
    });
  }
});
