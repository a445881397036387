// Memory by several streams: in whatever order they arrive, and whatever becomes of one of them.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { type Connection, LiveError, migrate } from "../../../src/live/mod.ts";
import { packMessage } from "../../../src/live/connection/messages.ts";
import { openDevice } from "../../../src/migration/device.ts";
import { SimKernel } from "../../../src/sim/mod.ts";
import {
  assertSameMemory,
  MIB,
  migrateTo,
  openSim,
  type Outcome,
  socketPair,
  succeeded,
  withFolder,
} from "../_pair.ts";
import { HeldConnection } from "./_held.ts";

const STREAMS = 3;
const MAPS = [{ iova: 64n * MIB, size: 64n * 1024n }];

type Options = Parameters<typeof migrateTo>[3];

/**
 * Migrates a device that writes all the while, by several streams, and compares its memory if it
 * came. The memory begins with this.
 */
async function moved(
  options: Options,
  content: Uint8Array = new Uint8Array(3_000_000).fill(3),
): Promise<Outcome> {
  let outcome: Outcome | null = null;
  await withFolder(async (folder) => {
    let now = 0;
    const spec = "sim:mlx5?size=64KiB&seed=5&dma=random:1000/s";
    const kernel = SimKernel.withClock(() => now += 5, spec);
    await using device = await openDevice(kernel.devices[0]!.path, {
      kernel,
      maps: [{ iova: MIB, size: BigInt(Math.ceil(content.length / 4096) * 4096) }, ...MAPS],
      tracker: "device",
    });
    await device.writeMemory(MIB, content);
    const target = new SimKernel("sim:mlx5?size=64KiB&seed=6");
    outcome = await migrateTo(folder, [device], target, {
      streams: STREAMS,
      ...options,
      source: { downtimeMs: 0, maxRounds: 4, onNoConverge: "stop", ...options?.source },
    });
    const { source, destination } = outcome;
    assert.equal(source.status, destination.status);
    if (destination.status === "rejected") return assert.ok(kernel.devices[0]!.running);
    await using devices = destination.value.devices;
    await assertSameMemory(device, devices[0]!);
    assert.equal(target.devices[0]!.checksum(), kernel.devices[0]!.checksum());
  });
  return outcome!;
}

/** The reason why a side failed. */
function reasonOf(result: PromiseSettledResult<unknown>): Error & { readonly code: string } {
  assert.ok(result.status === "rejected");
  return result.reason;
}

/** Ends that are made like others, the `number`th of them altered, the source's first. */
function alteredEnds(
  number: number,
  alter: (ends: [Connection, Connection]) => [Connection, Connection],
): (folder: string) => Promise<[Connection, Connection]> {
  let made = 0;
  return async (folder) => {
    const ends = await socketPair(folder);
    return made++ === number ? alter(ends) : ends;
  };
}

describe("several streams", () => {
  it("bring all of memory, compressed, hashed and of several rounds", async () => {
    // Behind a frame that is compressed, each stream has some that are not worth it.
    const content = new Uint8Array(19 << 20).fill(3);
    content.set(randomBytes(13 << 20), 6 << 20);
    const { source, destination } = await moved({
      source: { verifyMemory: true, compress: "zstd", ownerWrites: "none" },
    }, content);
    const [sent, { report }] = [succeeded(source), succeeded(destination)];
    assert.deepEqual([sent.streams, report.streams], [STREAMS, STREAMS]);
    assert.equal(report.received, sent.sent);
    assert.equal(report.bytes.memory, sent.bytes.memory + sent.bytes.zero);
    assert.equal(sent.rounds.length, 4);
  });

  for (let late = 0; late < STREAMS; late++) {
    it(`bring the same if all of stream ${late} arrives after the others, and nothing is loaded before`, async () => {
      const held: HeldConnection[] = [];
      const holding = async (folder: string): Promise<[Connection, Connection]> => {
        const [ours, theirs] = await socketPair(folder);
        const index = held.push(new HeldConnection(ours)) - 1;
        if (index !== late) held[index]!.release();
        return [held[index]!, theirs];
      };
      const phases: string[] = [];
      const { source } = await moved({
        ends: holding,
        source: {
          onProgress: ({ phase }) => {
            if (phases.at(-1) !== phase) phases.push(phase);
            // Each of the others has ended.
            if (phase === "committing") held[late]!.release();
          },
        },
        destination: { onProgress: ({ phase }) => void phases.push(phase) },
      });
      succeeded(source);
      assert.ok(held[late]!.bytes > 100_000, String(held[late]!.bytes));
      assert.ok(phases.indexOf("loaded") > phases.indexOf("committing"), phases.join());
    });
  }

  it("are as many as the destination takes, and fewer are said", async () => {
    const { source, destination } = await moved({ destination: { connections: undefined } });
    assert.equal(succeeded(destination).report.streams, 1);
    const { streams, warnings } = succeeded(source);
    assert.equal(streams, 1);
    assert.ok(warnings.includes("The other side takes 1 of 3 streams"), warnings.join());
  });

  it("are one to sixteen", async () => {
    for (const streams of [0, 17, 1.5]) {
      await withFolder(async (folder) => {
        const from = await openSim("mlx5?size=4KiB", []);
        await using device = from.device;
        const connect = () => Promise.reject(new Error("unused"));
        const source = { streams: { count: streams, connect } };
        const moving = migrate([device], (await socketPair(folder))[0], {
          journal: folder,
          ...source,
        });
        await assert.rejects(moving, RangeError);
      });
    }
  });

  it("may bring a page only by its own one", async () => {
    // Two streams that each say they are the other.
    let made = 0;
    const { source, destination } = await moved({
      ends: async (folder) => {
        const [ours, theirs] = await socketPair(folder);
        return [made++ === 0 ? ours : swapped(ours), theirs];
      },
    });
    assert.match(reasonOf(destination).message, /Memory at 0x[0-9a-f]+ comes by stream [12] of 3/);
    assert.equal(reasonOf(source).code, "peer-refused");
  });

  for (const side of ["source", "destination"] as const) {
    it(`fail together if one is cut, by the ${side}`, async () => {
      const { source, destination } = await moved({
        ends: alteredEnds(
          1,
          ([ours, theirs]) => side === "source" ? [cutAt(ours), theirs] : [ours, cutAt(theirs)],
        ),
      });
      assert.equal(reasonOf(destination).code, "connection-lost");
      assert.match(reasonOf(destination).message, /; the device was reset/);
      assert.match(reasonOf(source).message, /; the device is running/);
    });
  }

  it("fail together if one that the source takes for open never comes", async () => {
    const { source, destination } = await moved({
      ends: alteredEnds(1, ([_, theirs]) => [onlyJoined(), theirs]),
      destination: { timeoutMs: 300 },
    });
    assert.equal(reasonOf(destination).code, "peer-timeout");
    assert.match(reasonOf(destination).message, /open all streams.*; the device is running/);
    assert.match(reasonOf(source).message, /; the device is running/);
  });

  it("are not opened to another peer than the first", async () => {
    let written = 0;
    const { source } = await moved({
      ends: alteredEnds(1, ([ours, theirs]) => {
        const other = altered(ours, (bytes) => {
          written += bytes.length;
          return ours.write(bytes);
        });
        return [{ ...other, identity: "AA:BB" }, theirs];
      }),
    });
    assert.equal(reasonOf(source).code, "peer-protocol");
    assert.match(reasonOf(source).message, /shows another certificate.*; the device is running/);
    assert.equal(written, 0);
  });

  it("fail together if one stalls", async () => {
    const held: HeldConnection[] = [];
    const { source, destination } = await moved({
      ends: alteredEnds(2, ([ours, theirs]) => {
        held.push(new HeldConnection(ours));
        return [held[0]!, theirs];
      }),
      destination: { timeoutMs: 300 },
    });
    assert.ok(held[0]!.bytes > 0);
    assert.equal(reasonOf(destination).code, "peer-timeout");
    assert.equal(reasonOf(source).code, "peer-refused");
  });
});

/** A connection of which only the answer is there. */
function onlyJoined(): Connection {
  let left = packMessage({ type: "joined" });
  return {
    name: "nobody",
    read: async (into) => {
      if (left.length === 0) await new Promise(() => {});
      const count = Math.min(into.length, left.length);
      into.set(left.subarray(0, count));
      left = left.subarray(count);
      return count;
    },
    write: () => Promise.resolve(),
    close: () => {},
  };
}

/** A connection that says that it is another stream: 1 is 2. */
function swapped(connection: Connection): Connection {
  return altered(connection, async (bytes) => {
    const text = new TextDecoder().decode(bytes);
    if (!text.includes('"type":"stream"')) return await connection.write(bytes);
    const other = text.replace(/"index":([12])/, (_, index) => `"index":${3 - index}`);
    await connection.write(new TextEncoder().encode(other));
  });
}

/** A connection that breaks at the first memory that it is given, or asked for. */
function cutAt(connection: Connection): Connection {
  const cut = (length: number): void => {
    if (length <= 4096) return;
    connection.close();
    throw new LiveError("connection-lost", "The test has cut the connection");
  };
  return altered(connection, async (bytes) => {
    cut(bytes.length);
    await connection.write(bytes);
  }, async (into) => {
    cut(into.length);
    return await connection.read(into);
  });
}

/** A connection of which something is different. */
function altered(
  connection: Connection,
  write: Connection["write"],
  read: Connection["read"] = (into) => connection.read(into),
): Connection {
  return { name: connection.name, read, write, close: () => connection.close() };
}
