import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Random } from "../fuzz/_random.ts";
import { faultyRun } from "./_faulty_run.ts";
import { type NetworkFault, Proxy } from "./_proxy.ts";

/** How long a side waits for the other; a stall takes as long. */
const TIMEOUT_MS = 300;
const NONE = { kind: "none", side: "source", after: 0 } as const;

interface Run {
  readonly runs: "source" | "destination";
  readonly bytes: Readonly<Record<NetworkFault["side"], number>>;
}

async function run(name: string, fault: NetworkFault): Promise<Run> {
  using proxy = new Proxy(fault);
  // Without a stall a side that is slow is not taken for one that is gone.
  const timeoutMs = ["stall", "duplicate"].includes(fault.kind) ? TIMEOUT_MS : undefined;
  const what = JSON.stringify(fault);
  const runs = await faultyRun(name, (folder) => proxy.connect(folder), what, timeoutMs);
  return { runs, bytes: proxy.bytes };
}

/** A fault at a random byte; half of them are in the last ones, where the sides commit. */
function faultOf(kind: NetworkFault["kind"], seed: number, bytes: Run["bytes"]): NetworkFault {
  const random = new Random(seed);
  const side = random.chance(0.5) ? "source" : "destination";
  const all = bytes[side];
  const after = random.chance(0.5) ? random.below(all) : all - 1 - random.below(Math.min(all, 120));
  return { kind, side, after };
}

/** How many random faults of each kind. */
const RUNS = { cut: 16, stall: 6, duplicate: 6 } as const;

for (const name of ["mlx5", "trapped"]) {
  describe(`a network that fails under a migration of ${name}`, () => {
    for (const [kind, count] of Object.entries(RUNS) as [keyof typeof RUNS, number][]) {
      it(`leaves one running device, with all of its state: ${kind}`, async () => {
        const { runs, bytes } = await run(name, NONE);
        assert.equal(runs, "destination");
        for (let seed = 1; seed <= count; seed++) await run(name, faultOf(kind, seed, bytes));
      });
    }

    it("moves nothing if a bit of memory changes", async () => {
      // The two pages of memory are most of what the source sends.
      const { bytes } = await run(name, NONE);
      const first = bytes.source / 2 | 0;
      for (let after = first - 1500; after < first + 1500; after += 500) {
        const { runs } = await run(name, { kind: "alter", side: "source", after });
        assert.equal(runs, "source");
      }
    });

    it("moves it all the same if it is slow", async () => {
      const { runs } = await run(name, { ...NONE, kind: "slow" });
      assert.equal(runs, "destination");
    });

    it("breaks nothing where the first bytes do not arrive", async () => {
      for (const kind of ["cut", "stall"] as const) {
        const { runs } = await run(name, { kind, side: "source", after: 0 });
        assert.equal(runs, "source");
      }
    });
  });
}
