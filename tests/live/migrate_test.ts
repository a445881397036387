import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import type { ReceiveProgress } from "../../src/live/destination.ts";
import { migrate, type MigrateProgress } from "../../src/live/source.ts";
import { openDevice } from "../../src/migration/device.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import { UnsupportedError } from "../../src/vfio/mod.ts";
import {
  assertSameMemory,
  MIB,
  migrateTo,
  openSim,
  socketPair,
  succeeded,
  withFolder,
} from "./_pair.ts";

const MAPS = [{ iova: MIB, size: 2n * MIB }, { iova: 64n * MIB, size: 64n * 1024n }];

describe("a live migration", () => {
  for (const name of ["mlx5", "trapped", "mapped", "qat"]) {
    it(`moves a device that writes all the while, and its memory: ${name}`, async () => {
      await withFolder(async (folder) => {
        const from = await openSim(`${name}?size=300KiB&seed=5&dma=random:2000/s`, MAPS);
        const target = new SimKernel(`sim:${name}?size=300KiB&seed=6`);
        await using device = from.device;
        for (let at = 0n; at < MIB; at += 12_288n) {
          await device.writeMemory(MIB + at, new Uint8Array(8192).fill(1 + Number(at % 251n)));
        }
        let [sent, taken]: [MigrateProgress | null, ReceiveProgress | null] = [null, null];
        const { source, destination } = await migrateTo(folder, [device], target, {
          source: { downtimeMs: 60_000, onProgress: (progress) => sent = progress },
          destination: { onProgress: (progress) => taken = progress },
        });
        const report = succeeded(source);
        const { devices, report: received } = succeeded(destination);
        await using _ = devices;
        const { id, bytes, sent: stored, rounds, warnings } = report;
        const { bandwidth, expectedDowntimeMs } = sent!;
        const own = {
          phase: "done",
          id,
          bytes,
          sent: stored,
          left: 0,
          step: null,
          rounds,
          warnings,
        };
        const idle = { unansweredMs: 0 };
        assert.deepEqual(sent, { ...own, bandwidth, expectedDowntimeMs, ...idle });
        const { bytes: kinds } = received;
        assert.deepEqual(taken, { phase: "done", id, bytes: kinds, received: stored, ...idle });
        assert.ok(stored > bytes.memory + bytes.device);
        for (const { dirtied, left } of rounds) assert.ok(dirtied <= left);
        assert.deepEqual([from.kernel.devices[0]!.running, target.devices[0]!.running], [
          false,
          true,
        ]);
        assert.deepEqual(from.kernel.devices[0]!.violations, []);
        assert.deepEqual(target.devices[0]!.violations, []);
        await assertSameMemory(device, devices[0]!);
        assert.equal(target.devices[0]!.checksum(), from.kernel.devices[0]!.checksum());
        assert.equal(report.id, received.id);
        assert.ok(report.rounds.length >= 1);
        assert.ok(report.bytes.memory >= 600_000, `${report.bytes.memory}`);
        assert.ok(report.bytes.same > 0);
        assert.ok(report.bytes.device >= 300 * 1024);
        assert.equal(received.bytes.device, report.bytes.device);
        assert.deepEqual(report.downtime.map(({ step }) => step), [
          "stop",
          "memory",
          "device data",
          "commit",
        ]);
      });
    });
  }

  it("takes what the owner writes in each round, and after the stop of tracking", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB&dma=random:500/s", MAPS);
      const target = new SimKernel("sim:mlx5?size=64KiB");
      await using device = from.device;
      let writes = 0;
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: {
          downtimeMs: 60_000,
          onProgress: ({ phase, rounds }) => {
            // Once before the first round, and once after each.
            if (phase !== "pre-copy" || rounds.length < writes) return;
            writes += 1;
            // No tracker sees this.
            void device.writeMemory(MIB + BigInt(writes) * 40_960n, new Uint8Array(100).fill(7));
          },
        },
      });
      const { devices } = succeeded(destination);
      await using _ = devices;
      assert.ok(writes >= 2);
      assert.ok(succeeded(source).bytes.memory > 0);
      await assertSameMemory(device, devices[0]!);
    });
  });

  it("loses the owner's writes if it was promised that there are none", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS);
      const target = new SimKernel("sim:mlx5?size=64KiB");
      await using device = from.device;
      let written: Promise<void> | null = null;
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: {
          downtimeMs: 60_000,
          ownerWrites: "none",
          onProgress: ({ phase, rounds }) => {
            if (phase !== "pre-copy" || rounds.length === 0) return;
            written ??= device.writeMemory(MIB, new Uint8Array([1]));
          },
        },
      });
      succeeded(source);
      const { devices } = succeeded(destination);
      await using _ = devices;
      assert.notEqual(written, null);
      await assert.rejects(assertSameMemory(device, devices[0]!), /memory at 0x100000 differs/);
    });
  });

  it("moves several devices together", async () => {
    await withFolder(async (folder) => {
      const spec = ["sim:mlx5?size=64KiB&seed=1", "sim:trapped?size=64KiB&seed=2"] as const;
      const kernel = new SimKernel(...spec);
      const target = new SimKernel("sim:mlx5?size=64KiB&seed=8", "sim:trapped?size=64KiB&seed=9");
      await using devices = await openDevices(kernel.devices.map(({ path }) => path), {
        kernel,
        maps: MAPS,
        tracker: "auto",
      });
      await devices[0]!.writeMemory(MIB, new Uint8Array([1, 2]));
      await devices[1]!.writeMemory(MIB, new Uint8Array([3]));
      const { source, destination } = await migrateTo(folder, devices, target, {
        source: { downtimeMs: 60_000 },
      });
      const report = succeeded(source);
      const { devices: there } = succeeded(destination);
      await using _ = there;
      assert.equal(report.devices.length, 2);
      assert.ok(report.bytes.zero > 0);
      for (const [index, device] of devices.entries()) {
        await assertSameMemory(device, there[index]!);
        assert.equal(target.devices[index]!.checksum(), kernel.devices[index]!.checksum());
        assert.equal(target.devices[index]!.running, true);
        assert.equal(kernel.devices[index]!.running, false);
      }
    });
  });

  it("fails if it does not converge, and the device runs on", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS, "none");
      const target = new SimKernel("sim:mlx5?size=64KiB");
      await using device = from.device;
      const warnings: string[] = [];
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: {
          downtimeMs: 0,
          maxRounds: 2,
          onProgress: (progress) => warnings.splice(0, Infinity, ...progress.warnings),
        },
      });
      assert.ok(source.status === "rejected" && destination.status === "rejected");
      const error = source.reason as TransferError;
      assert.ok(error instanceof TransferError);
      assert.equal(error.code, "no-convergence");
      assert.match(
        error.message,
        /does not converge: after 2 rounds [\d.]+ [KM]iB are left, .* for [\d.]+ m?s, of which /,
      );
      assert.match(error.message, / takes [\d.]+ m?s; 0\.0 ms are allowed; the device is running/);
      assert.equal(error.hint!.remedy, "converge-or-promise");
      assert.match(warnings.join(), /has no tracker: all of its memory counts as dirty/);
      assert.deepEqual([from.kernel.devices[0]!.running, target.devices[0]!.running], [
        true,
        false,
      ]);
      assert.match((destination.reason as Error).message, /the device was reset/);
    });
  });

  it("sends all memory again after a migration that failed", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS, "none");
      await using device = from.device;
      await device.writeMemory(MIB, new Uint8Array(8192).fill(9));
      const first = await migrateTo(folder, [device], new SimKernel("sim:mlx5?size=64KiB"), {
        source: { downtimeMs: 0, maxRounds: 1 },
      });
      assert.ok(first.source.status === "rejected");
      fs.rmSync(path.join(folder, "socket"), { force: true });
      const target = new SimKernel("sim:mlx5?size=64KiB");
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: { downtimeMs: 60_000 },
      });
      await using devices = succeeded(destination).devices;
      assert.ok(succeeded(source).bytes.memory >= 8192);
      await assertSameMemory(device, devices[0]!);
    });
  });

  it("stops all the same if that is wanted", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS, "none");
      const target = new SimKernel("sim:mlx5?size=64KiB");
      await using device = from.device;
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: { downtimeMs: 0, maxRounds: 2, onNoConverge: "stop" },
      });
      assert.equal(succeeded(source).rounds.length, 2);
      await using _ = succeeded(destination).devices;
      assert.equal(target.devices[0]!.running, true);
    });
  });

  it("compares memory in one round if that is all that keeps the device from stopping", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS);
      const target = new SimKernel("sim:mlx5?size=64KiB");
      await using device = from.device;
      let written: Promise<void> | null = null;
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: {
          ...{ downtimeMs: 0, maxRounds: 3, onNoConverge: "stop" },
          onProgress: ({ phase, rounds }) => {
            // The second round has nothing to do but to find it.
            if (phase !== "pre-copy" || rounds.length !== 1) return;
            written ??= device.writeMemory(MIB, new Uint8Array(8192).fill(5));
          },
        },
      });
      await using devices = succeeded(destination).devices;
      const { rounds } = succeeded(source);
      assert.deepEqual(rounds.map(({ left }) => left), [0, 0, 0]);
      assert.deepEqual(rounds.map(({ compared }) => compared), [undefined, true, undefined]);
      assert.ok(rounds[1]!.sent >= 8192, `${rounds[1]!.sent} bytes were sent before the stop`);
      await assertSameMemory(device, devices[0]!);
    });
  });

  it("is refused if the other device is of another kind, and the device runs on", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS);
      const target = new SimKernel("sim:qat?size=64KiB");
      await using device = from.device;
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: { downtimeMs: 60_000 },
      });
      assert.ok(source.status === "rejected" && destination.status === "rejected");
      assert.match((destination.reason as Error).message, /the device id is/);
      const error = source.reason as TransferError;
      assert.ok(["peer-refused", "connection-lost"].includes(error.code), error.code);
      assert.deepEqual([from.kernel.devices[0]!.running, target.devices[0]!.running], [
        true,
        false,
      ]);
    });
  });

  it("is refused of a device that cannot migrate, before anything is sent or written", async () => {
    await withFolder(async (folder) => {
      const maps = [{ iova: 0n, size: MIB }];
      await using device = await openDevice("sim:none", { maps });
      const [here, there] = await socketPair(folder);
      const journal = path.join(folder, "journal");
      await assert.rejects(migrate([device], here, { journal }), (error) => {
        assert.ok(error instanceof TransferError);
        assert.ok(error.cause instanceof UnsupportedError);
        assert.match(error.message, /has no migration region/);
        return true;
      });
      assert.equal(await there.read(new Uint8Array(1)), 0);
      there.close();
      assert.equal(fs.existsSync(journal), false);
    });
  });

  it("ends on a signal, and the device runs on", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS);
      const target = new SimKernel("sim:mlx5?size=64KiB");
      await using device = from.device;
      const ending = new AbortController();
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: {
          downtimeMs: 60_000,
          signal: ending.signal,
          onProgress: ({ phase }) => {
            if (phase === "stopped") ending.abort(new Error("enough"));
          },
        },
      });
      assert.ok(source.status === "rejected" && destination.status === "rejected");
      assert.equal((source.reason as TransferError).code, "cancelled");
      assert.deepEqual([from.kernel.devices[0]!.running, target.devices[0]!.running], [
        true,
        false,
      ]);
    });
  });
});
