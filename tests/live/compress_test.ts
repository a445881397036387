import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import * as path from "node:path";
import { describe, it } from "node:test";
import {
  createCheckpointFile,
  inspectCheckpoint,
  openCheckpointFile,
} from "../../src/checkpoint/mod.ts";
import { packMessage, readMessage } from "../../src/live/connection/messages.ts";
import type { Connection, MigrateReport } from "../../src/live/mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  assertSameMemory,
  MIB,
  migrateTo,
  openSim,
  socketPair,
  succeeded,
  withFolder,
} from "./_pair.ts";

const MAPS = [{ iova: MIB, size: 2n * MIB }];
const SPEC = "mlx5?size=64KiB";

/** Moves a device whose memory holds these bytes, and compares the memory on both sides. */
async function moved(content: Uint8Array, compress: "zstd" | undefined): Promise<MigrateReport> {
  let report: MigrateReport | null = null;
  await withFolder(async (folder) => {
    const from = await openSim(SPEC, MAPS);
    await using device = from.device;
    await device.writeMemory(MIB, content);
    const target = new SimKernel(`sim:${SPEC}`);
    const { source, destination } = await migrateTo(folder, [device], target, {
      source: { downtimeMs: 60_000, compress, verifyMemory: true },
    });
    report = succeeded(source);
    await using devices = succeeded(destination).devices;
    await assertSameMemory(device, devices[0]!);
  });
  return report!;
}

describe("compressed memory", () => {
  const text = new Uint8Array(1_500_000).map((_, at) => at % 97 < 40 ? at % 251 : 7);

  it("takes less of the stream, and arrives as it was", async () => {
    const [plain, compressed] = [await moved(text, undefined), await moved(text, "zstd")];
    assert.equal(compressed.bytes.memory, plain.bytes.memory);
    assert.ok(plain.sent > text.length);
    assert.ok(compressed.sent < text.length / 2, String(compressed.sent));
    // A round counts what its bytes were before: what is left is known like that.
    const [one, other] = [plain, compressed].map(({ rounds }) => rounds[0]!.sent);
    assert.ok(Math.abs(one! - other!) < 4096, `${one} and ${other}`);
  });

  it("goes plain if that would not make it smaller", async () => {
    const random = new Uint8Array(randomBytes(1_500_000));
    const { sent } = await moved(random, "zstd");
    assert.ok(sent > random.length);
  });

  it("is plain in the checkpoint of --tee, which restores it", async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, "a.vfk");
      const from = await openSim(SPEC, MAPS);
      await using device = from.device;
      await device.writeMemory(MIB, text);
      await using tee = await createCheckpointFile(file);
      const { source, destination } = await migrateTo(
        folder,
        [device],
        new SimKernel(`sim:${SPEC}`),
        {
          source: { downtimeMs: 60_000, compress: "zstd" },
          destination: { tee },
        },
      );
      assert.ok(succeeded(source).sent < text.length);
      await using _ = succeeded(destination).devices;
      await using opened = await openCheckpointFile(file);
      const { error, storedBytes, memoryBytes } = await inspectCheckpoint(opened);
      assert.equal(error, null);
      assert.ok(storedBytes > text.length);
      assert.ok(memoryBytes >= Number(2n * MIB));
    });
  });

  it("ends the migration if the source has not announced it", async () => {
    await withFolder(async (folder) => {
      const from = await openSim(SPEC, MAPS);
      await using device = from.device;
      await device.writeMemory(MIB, text);
      const target = new SimKernel(`sim:${SPEC}`);
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: { downtimeMs: 60_000, compress: "zstd" },
        ends: async (folder) => {
          const [ours, theirs] = await socketPair(folder);
          return [unannounced(ours), theirs];
        },
      });
      assert.ok(source.status === "rejected" && destination.status === "rejected");
      assert.match(
        (destination.reason as Error).message,
        /sends compressed memory without having said so; the device was reset/,
      );
      assert.equal(from.kernel.devices[0]!.running, true);
    });
  });
});

/** A source whose hello says nothing of compression. */
function unannounced(connection: Connection): Connection {
  let first = true;
  return {
    name: connection.name,
    read: (into) => connection.read(into),
    async write(bytes): Promise<void> {
      if (!first) return await connection.write(bytes);
      first = false;
      let rest = bytes.slice();
      const message = await readMessage((length) => {
        const taken = new Uint8Array(rest.slice(0, length));
        rest = rest.slice(length);
        return Promise.resolve(taken);
      });
      assert.equal(message.type, "hello");
      if (message.type === "hello") {
        await connection.write(packMessage({ ...message, compress: null }));
      }
    },
    close: () => connection.close(),
  };
}
