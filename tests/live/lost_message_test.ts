import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Connection, LiveError } from "../../src/live/mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  assertSameMemory,
  entriesOf,
  MIB,
  migrateTo,
  openSim,
  resolveDoubt,
  socketPair,
  withFolder,
} from "./_pair.ts";

const MAPS = [{ iova: MIB, size: 64n * 4096n }];

/** Ends the connection in place of sending a message of a type. */
function losing(ends: [Connection, Connection], type: string): [Connection, Connection] {
  return ends.map((end): Connection => ({
    name: end.name,
    read: (into) => end.read(into),
    write: async (bytes) => {
      const said = new TextDecoder().decode(bytes.subarray(0, 60));
      if (!said.startsWith("VFKM") || !said.includes(`"type":"${type}"`)) {
        return await end.write(bytes);
      }
      for (const each of ends) each.close();
      throw new LiveError("connection-lost", `The test has lost "${type}"`);
    },
    close: () => end.close(),
  })) as [Connection, Connection];
}

/** What a run came to. */
interface Run {
  readonly runs: "source" | "destination";
  /** The sides that stood still in doubt. */
  readonly doubt: readonly string[];
  readonly committed: boolean;
  readonly errors: readonly string[];
}

async function run(name: string, lost: string, fault = ""): Promise<Run> {
  let result: Run | null = null;
  await withFolder(async (folder) => {
    const target = new SimKernel(`sim:${name}?size=4KiB&seed=6${fault}`);
    const from = await openSim(`${name}?size=4KiB&seed=5`, MAPS);
    await using device = from.device;
    await device.writeMemory(MIB, new Uint8Array(8192).fill(9));
    const doubt = new Set<string>();
    const looking: ReturnType<typeof setInterval>[] = [];
    let migration = "";
    const watch = (side: string) => ({ phase, id }: { phase: string; id: string }): void => {
      migration = id;
      if (phase !== "in-doubt") return;
      doubt.add(side);
      looking.push(setInterval(() => resolveDoubt(folder, id), 5));
    };
    const { source, destination } = await migrateTo(folder, [device], target, {
      source: { downtimeMs: 60_000, onProgress: watch("source") },
      destination: { onProgress: watch("destination") },
      ends: async (folder) => losing(await socketPair(folder), lost),
    });
    for (const each of looking) clearInterval(each);
    const arrived = destination.status === "fulfilled";
    assert.equal(from.kernel.devices[0]!.running, !arrived);
    assert.equal(source.status, destination.status);
    if (arrived) {
      await using devices = destination.value.devices;
      assert.equal(target.devices[0]!.running, true);
      await assertSameMemory(device, devices[0]!);
      assert.equal(target.devices[0]!.checksum(), from.kernel.devices[0]!.checksum());
    }
    result = {
      runs: arrived ? "destination" : "source",
      doubt: [...doubt].sort(),
      committed: entriesOf(folder, migration, "source").includes("commit"),
      errors: [source, destination].flatMap((side) =>
        side.status === "rejected" ? [(side.reason as Error).message] : []
      ),
    };
  });
  return result!;
}

describe("the loss of", () => {
  // The table in docs/live-migration.md.
  const TABLE = {
    hello: ["source", [], false],
    ready: ["source", [], false],
    loaded: ["source", ["destination"], false],
    commit: ["destination", ["destination", "source"], true],
    running: ["destination", ["source"], true],
  } as const;
  for (const name of ["mlx5", "trapped"]) {
    for (const [message, [runs, doubt, committed]] of Object.entries(TABLE)) {
      it(`${message}: the ${runs} runs (${name})`, async () => {
        const { errors: _, ...found } = await run(name, message);
        assert.deepEqual(found, { runs, doubt, committed });
      });
    }
  }

  it("refused, after the decision: the source runs once it is known that the other was reset", async () => {
    // The arcs of the destination: RUNNING_P2P, STOP, RESUMING, STOP, RUNNING_P2P, RUNNING.
    const found = await run("qat", "refused", "&fault=transition:5:EIO");
    assert.deepEqual(found.doubt, ["source"]);
    assert.deepEqual([found.runs, found.committed], ["source", true]);
  });

  it("nothing, if the destination's driver refuses to run: the source runs again", async () => {
    const found = await run("qat", "nothing", "&fault=transition:5:EIO");
    assert.deepEqual([found.runs, found.doubt, found.committed], ["source", [], true]);
    assert.match(found.errors[0]!, /gives up: .*was reset/);
  });

  it("nothing, if a v1 driver judges as it begins to run: the source runs again", async () => {
    const found = await run("trapped", "nothing", "&fault=transition:2:EINVAL");
    assert.deepEqual([found.runs, found.doubt, found.committed], ["source", [], true]);
  });
});
