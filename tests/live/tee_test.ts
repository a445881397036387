import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import {
  type CheckpointFile,
  CheckpointFileError,
  createCheckpointFile,
  openCheckpointFile,
  verifyCheckpoint,
} from "../../src/checkpoint/mod.ts";
import { restoreChain } from "../../src/live/mod.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import { assertSameMemory, MIB, migrateTo, openSim, succeeded, withFolder } from "./_pair.ts";

const MAPS = [{ iova: MIB, size: 2n * MIB }, { iova: 64n * MIB, size: 64n * 1024n }];

/** Checkpoints in a folder, those included that are not whole. */
function checkpointsIn(folder: string): string[] {
  return fs.readdirSync(folder).filter((name) => name.includes(".vfk"));
}

/** A file with some of its methods replaced. */
function altered(file: CheckpointFile, over: Partial<CheckpointFile>): CheckpointFile {
  return {
    path: file.path,
    direct: file.direct,
    fd: file.fd,
    readBack: file.readBack,
    bytes: 0,
    writable: file.writable,
    write: (chunk) => file.write(chunk),
    commit: () => file.commit(),
    abort: () => file.abort(),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    ...over,
  };
}

describe("the checkpoint of a migration", () => {
  for (const streams of [1, 3]) {
    const verifyMemory = streams > 1;
    const what = verifyMemory ? ", also with hashes and several compressed streams" : "";
    it(`restores what was moved, and its memory${what}`, async () => {
      await withFolder(async (folder) => {
        const file = path.join(folder, "a.vfk");
        const from = await openSim("mlx5?size=300KiB&seed=5&dma=random:2000/s", MAPS);
        await using device = from.device;
        await device.writeMemory(MIB, new Uint8Array(100_000).fill(3));
        const target = new SimKernel("sim:mlx5?size=300KiB&seed=6");
        await using tee = await createCheckpointFile(file);
        const { source, destination } = await migrateTo(folder, [device], target, {
          streams,
          source: { downtimeMs: 60_000, verifyMemory, compress: verifyMemory ? "zstd" : undefined },
          destination: {
            tee,
            onProgress: ({ phase }) => {
              if (phase !== "done") assert.equal(fs.existsSync(file), false, phase);
            },
          },
        });
        succeeded(source);
        const { devices, report } = succeeded(destination);
        await using _ = devices;
        assert.equal(report.teeError, null);
        assert.equal(report.streams, streams);
        assert.deepEqual(checkpointsIn(folder), ["a.vfk"]);
        await using opened = await openCheckpointFile(file);
        const { header, trailer } = await verifyCheckpoint(opened);
        const link = header.link!;
        assert.deepEqual([link.id, link.chain, link.previous], [report.id, report.id, null]);
        assert.equal(trailer.bytes, report.bytes.device);
        const third = new SimKernel("sim:mlx5?size=300KiB&seed=7");
        await using restored = await openDevices(third.devices.map(({ path }) => path), {
          kernel: third,
          maps: link.memory[0]!.ranges,
        });
        await restoreChain(restored, {
          ...{ folder, number: 0, files: [file], header, memory: link.memory },
          ...{ deviceBytes: trailer.bytes, storedBytes: opened.size! },
        });
        await assertSameMemory(devices[0]!, restored[0]!);
        assert.equal(third.devices[0]!.checksum(), target.devices[0]!.checksum());
      });
    });
  }

  it("has the data of several devices", async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, "a.vfk");
      const kernel = new SimKernel("sim:mlx5?size=64KiB&seed=1", "sim:trapped?size=64KiB&seed=2");
      const target = new SimKernel("sim:mlx5?size=64KiB", "sim:trapped?size=64KiB");
      const paths = kernel.devices.map(({ path }) => path);
      await using sources = await openDevices(paths, { kernel, maps: MAPS, tracker: "auto" });
      await using tee = await createCheckpointFile(file);
      const { source, destination } = await migrateTo(folder, sources, target, {
        source: { downtimeMs: 60_000 },
        destination: { tee },
      });
      succeeded(source);
      await using _ = succeeded(destination).devices;
      await using opened = await openCheckpointFile(file);
      const { header, phases } = await verifyCheckpoint(opened);
      assert.equal(header.link!.memory.length, 2);
      assert.deepEqual(new Set(phases.map((phase) => phase.device)), new Set([0, 1]));
    });
  });

  it("is not left by a migration that did not commit", async () => {
    // Before the destination has everything, and after that, when it may be in doubt.
    for (const last of ["stopped", "committing"] as const) {
      await withFolder(async (folder) => {
        const from = await openSim("mlx5?size=64KiB", MAPS);
        await using device = from.device;
        const [ending, giving] = [new AbortController(), new AbortController()];
        {
          await using tee = await createCheckpointFile(path.join(folder, "a.vfk"));
          const target = new SimKernel("sim:mlx5?size=64KiB");
          const { source, destination } = await migrateTo(folder, [device], target, {
            source: {
              downtimeMs: 60_000,
              signal: ending.signal,
              onProgress: ({ phase }) => {
                if (phase === last) ending.abort(new Error("enough"));
              },
            },
            destination: {
              tee,
              signal: giving.signal,
              onProgress: ({ phase }) => {
                if (phase === "in-doubt") giving.abort(new Error("enough"));
              },
            },
          });
          assert.deepEqual([source.status, destination.status], ["rejected", "rejected"]);
        }
        assert.deepEqual(checkpointsIn(folder), []);
        assert.equal(from.kernel.devices[0]!.running, true);
      });
    }
  });

  it("fails the migration if it cannot be written, and the source runs on", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS);
      await using device = from.device;
      await device.writeMemory(MIB, new Uint8Array(MAPS.length * 500_000).fill(3));
      const full = new CheckpointFileError("No room", { path: "a", code: "ENOSPC" });
      await using file = await createCheckpointFile(path.join(folder, "a.vfk"));
      const tee = altered(file, {
        write: (chunk) => chunk.length > 4096 ? Promise.reject(full) : file.write(chunk),
      });
      const target = new SimKernel("sim:mlx5?size=64KiB");
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: { downtimeMs: 60_000 },
        destination: { tee },
      });
      assert.ok(source.status === "rejected" && destination.status === "rejected");
      assert.ok(destination.reason instanceof TransferError);
      assert.match(destination.reason.message, /No room; the device was reset/);
      assert.match((source.reason as Error).message, /the device is running/);
    });
  });

  it("does not stop a device that runs already if it does not get its name", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS);
      await using device = from.device;
      await using file = await createCheckpointFile(path.join(folder, "a.vfk"));
      const there = new CheckpointFileError("It is there", { path: "a", code: "EEXIST" });
      const tee = altered(file, { commit: () => Promise.reject(there) });
      const target = new SimKernel("sim:mlx5?size=64KiB");
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: { downtimeMs: 60_000 },
        destination: { tee },
      });
      succeeded(source);
      const { devices, report } = succeeded(destination);
      await using _ = devices;
      assert.equal(report.teeError, there);
      assert.equal(target.devices[0]!.running, true);
    });
  });
});
