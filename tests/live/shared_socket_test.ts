import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { describe, it } from "node:test";
import { migrate, receive } from "../../src/live/mod.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { assertSameMemory, MIB, socketPair, withFolder } from "./_pair.ts";
import { Switchboard } from "./_switchboard.ts";

/** Each of a kind, with data that takes many turns, and one that writes to memory meanwhile. */
const SPECS = [
  "mlx5?size=3MiB&dma=random:2000/s",
  "mlx5?size=2MiB&seed=2",
  "trapped?size=1MiB&seed=3",
  "qat?size=64KiB&seed=4",
] as const;
const SIZE = 5n * MIB;

/** The memory of a device. */
const mapsOf = (index: number) => [{ iova: BigInt(index + 1) << 32n, size: SIZE }];

describe("devices whose threads share a unix socket", () => {
  for (const [count, streams] of [[1, 1], [1, 3], [4, 1], [4, 3]] as const) {
    it(`move with all of their memory and data: ${count}, by ${streams} streams`, async () => {
      const some = SPECS.slice(0, count);
      await withFolder(async (folder) => {
        const each = some.map((_, index) => ({ maps: mapsOf(index), tracker: "auto" as const }));
        await using devices = await openDevices(some.map((spec) => `sim:${spec}`), { each });
        for (const [index, device] of devices.entries()) {
          const half = Number(SIZE / 2n);
          await device.writeMemory(mapsOf(index)[0]!.iova, new Uint8Array(randomBytes(half)));
        }
        const [ours, theirs] = await socketPair(folder);
        const further = new Switchboard(() => socketPair(folder));
        const journal = join(folder, "journal");
        const specs = some.map((spec) => `sim:${spec.replace(/&dma.*/, "")}`);
        const [sent, taken] = await Promise.all([
          migrate(devices, ours, {
            journal,
            downtimeMs: 60_000,
            maxRounds: 3,
            ownerWrites: "none",
            verifyMemory: true,
            streams: { count: streams, connect: further.connect },
          }),
          receive(
            theirs,
            (memory) => openDevices(specs, { each: memory.map((maps) => ({ maps })) }),
            {
              journal,
              connections: further,
            },
          ),
        ]);
        await using there = taken.devices;
        assert.equal(sent.streams, streams);
        assert.equal(taken.report.received, sent.sent);
        for (const [index, device] of devices.entries()) {
          await assertSameMemory(device, there[index]!);
          assert.equal((await there[index]!.state()).state, "running");
        }
      });
    });
  }
});
