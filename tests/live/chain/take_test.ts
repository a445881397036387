import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import {
  type ChainError,
  CheckpointChain,
  type LinkReport,
  restoreChain,
  verifyChain,
} from "../../../src/live/mod.ts";
import { openDevice } from "../../../src/migration/device.ts";
import { openDevices } from "../../../src/migration/open_devices.ts";
import { SimKernel } from "../../../src/sim/mod.ts";
import { TransferError } from "../../../src/transfer/transfer_error.ts";
import { UnsupportedError } from "../../../src/vfio/mod.ts";
import { intercept } from "../../dirty/_session.ts";
import { assertSameMemory, MIB, withFolder } from "../_pair.ts";
import { assertSame, type Content, MAPS, openWriter, restored } from "./_chain.ts";

describe("a chain of checkpoints", () => {
  for (const name of ["mlx5", "trapped", "qat", "stop-copy-only"]) {
    it(`restores each state of a device that writes all the while: ${name}`, async () => {
      await withFolder(async (folder) => {
        const options = name === "stop-copy-only" ? "" : "&rate=100KiB";
        const spec = `${name}?size=64KiB&seed=5&dma=random:200/s${options}`;
        await using writer = await openWriter(spec);
        await using chain = new CheckpointChain(writer.device, folder, { fullEvery: 3 });
        const states: Content[] = [];
        const reports: LinkReport[] = [];
        for (let number = 0; number < 5; number++) {
          writer.goOn();
          reports.push(await chain.take());
          states.push(await writer.content());
          assert.equal(writer.kernel.devices[0]!.running, true);
        }
        assert.deepEqual(writer.kernel.devices[0]!.violations, []);
        assert.deepEqual(reports.map(({ kind }) => kind), [
          "full",
          "increment",
          "increment",
          "full",
          "increment",
        ]);
        for (const [number, state] of states.entries()) {
          assert.equal(fs.statSync(reports[number]!.file).mode & 0o777, 0o600);
          assert.equal(fs.statSync(reports[number]!.file).size, reports[number]!.storedBytes);
          assertSame(
            await restored(folder, `${name}?size=64KiB&seed=9`, number),
            state,
            `${number}`,
          );
        }
        const steps = ["stop", "memory", "device data", "run"];
        assert.deepEqual(reports[1]!.stop.map(({ step }) => step), steps);
        assert.equal(reports[1]!.readBack.done, true);
      });
    });
  }

  it("holds what the owner wrote between and during checkpoints", async () => {
    await withFolder(async (folder) => {
      const spec = "mlx5?size=4KiB&dma=random:100/s";
      let during: (() => void) | null = null;
      await using writer = await openWriter(
        spec,
        (kernel) =>
          intercept(kernel, (next, fd, request, arg) => {
            const answer = next(fd, request, arg);
            // The first call after the device has stopped: all its memory was looked at before.
            if (!kernel.devices[0]!.running) during?.();
            return answer;
          }),
      );
      const { device } = writer;
      await using chain = new CheckpointChain(device, folder);
      await chain.take();
      for (let turn = 1; turn <= 3; turn++) {
        writer.goOn();
        await device.writeMemory(MIB + BigInt(turn) * 8192n, new Uint8Array(5000).fill(turn));
        const written: Promise<void>[] = [];
        during = () => {
          during = null;
          written.push(device.writeMemory(64n * MIB, new Uint8Array(100).fill(turn)));
        };
        await chain.take();
        await Promise.all(written);
        assert.equal(written.length, 1);
        assertSame(await restored(folder, spec, turn), await writer.content(), `${turn}`);
      }
    });
  });

  it("leaves out what the owner writes if it was promised that there is nothing", async () => {
    await withFolder(async (folder) => {
      await using writer = await openWriter("mlx5?size=4KiB");
      await using chain = new CheckpointChain(writer.device, folder, { ownerWrites: "none" });
      await chain.take();
      await writer.device.writeMemory(MIB, new Uint8Array([1]));
      assert.equal((await chain.take()).bytes.memory, 0);
    });
  });

  it("stores a page that did not change in one file only, without a tracker, too", async () => {
    await withFolder(async (folder) => {
      const kernel = new SimKernel("sim:trapped?size=4KiB");
      await using device = await openDevice(kernel.devices[0]!.path, { kernel, maps: MAPS });
      await device.writeMemory(MIB, crypto.getRandomValues(new Uint8Array(65_536)));
      await using chain = new CheckpointChain(device, folder);
      const full = await chain.take();
      assert.match(full.warnings.join(), /has no tracker/);
      assert.equal(full.bytes.memory, 65_536);
      await device.writeMemory(MIB + 8192n, new Uint8Array([1, 2, 3]));
      const increment = await chain.take();
      assert.equal(increment.bytes.memory, 4096);
      assert.ok(increment.storedBytes < 4096 + 4096 + 4096, `${increment.storedBytes}`);
    });
  });

  it("stops and restores several devices together", async () => {
    await withFolder(async (folder) => {
      const kernel = new SimKernel("sim:mlx5?size=64KiB&seed=1", "sim:trapped?size=64KiB&seed=2");
      const names = kernel.devices.map(({ path }) => path);
      await using devices = await openDevices(names, { kernel, maps: MAPS, tracker: "auto" });
      await using chain = new CheckpointChain(devices, folder);
      await chain.take();
      for (const [index, device] of devices.entries()) {
        await device.writeMemory(MIB, new Uint8Array(8192).fill(index + 1));
      }
      await chain.take();
      const verified = await verifyChain(folder);
      assert.equal(verified.memory.length, 2);
      const target = new SimKernel("sim:mlx5?size=64KiB&seed=8", "sim:trapped?size=64KiB&seed=9");
      await using there = await openDevices(target.devices.map(({ path }) => path), {
        kernel: target,
        maps: verified.memory[0]!.ranges,
      });
      await restoreChain(there, verified);
      for (const [index, device] of devices.entries()) {
        await assertSameMemory(device, there[index]!);
        const [one, other] = [kernel, target].map(({ devices }) => devices[index]!.checksum());
        assert.equal(one, other);
      }
    });
  });

  it("keeps at least as many as it is asked to, and removes whole chains", async () => {
    await withFolder(async (folder) => {
      const spec = "mlx5?size=4KiB&dma=random:50/s";
      fs.writeFileSync(`${folder}/notes.txt`, "stays");
      await using writer = await openWriter(spec);
      await using chain = new CheckpointChain(writer.device, folder, { keep: 3, fullEvery: 2 });
      const left: number[][] = [];
      const states: Content[] = [];
      for (let number = 0; number < 8; number++) {
        writer.goOn();
        await chain.take();
        states.push(await writer.content());
        left.push(fs.readdirSync(folder).map(Number.parseFloat).filter((each) => each >= 0).sort());
      }
      // Chains of two: the third newest is in the one before the last.
      assert.deepEqual(left.slice(3), [
        [0, 1, 2, 3],
        [2, 3, 4],
        [2, 3, 4, 5],
        [4, 5, 6],
        [4, 5, 6, 7],
      ]);
      for (const number of [5, 6, 7]) {
        assertSame(await restored(folder, spec, number), states[number]!, `${number}`);
      }
      await assert.rejects(
        verifyChain(folder, { number: 3 }),
        (error: ChainError) => error.code === "no-checkpoint" && error.lastGood === 7,
      );
      assert.ok(fs.existsSync(`${folder}/notes.txt`));
    });
  });

  it("goes on in a folder with checkpoints of an earlier run by a full one", async () => {
    await withFolder(async (folder) => {
      const spec = "mlx5?size=4KiB&dma=random:50/s";
      const states: Content[] = [];
      for (let run = 0; run < 2; run++) {
        await using writer = await openWriter(spec);
        await using chain = new CheckpointChain(writer.device, folder);
        for (let count = 0; count < 2; count++) {
          writer.goOn();
          await chain.take();
          states.push(await writer.content());
        }
      }
      assert.equal((await verifyChain(folder)).files.length, 2);
      for (const [number, state] of states.entries()) {
        assertSame(await restored(folder, spec, number), state, `${number}`);
      }
    });
  });

  it("has no folder for a device that cannot migrate", async () => {
    await withFolder(async (folder) => {
      const at = path.join(folder, "chain");
      const maps = [{ iova: 0n, size: MIB }];
      await using device = await openDevice("sim:none", { maps });
      await using chain = new CheckpointChain(device, at);
      await assert.rejects(chain.take(), (error) => {
        assert.ok(error instanceof TransferError);
        assert.ok(error.cause instanceof UnsupportedError);
        return true;
      });
      assert.equal(fs.existsSync(at), false);
    });
  });

  it("refuses options that make no sense, two at once, and other memory", async () => {
    await withFolder(async (folder) => {
      await using writer = await openWriter("mlx5?size=4KiB");
      const { device } = writer;
      for (const options of [{ keep: 0 }, { fullEvery: 1.5 }]) {
        assert.throws(() => new CheckpointChain(device, folder, options), RangeError);
      }
      await using chain = new CheckpointChain(device, folder);
      const first = chain.take();
      await assert.rejects(chain.take(), TypeError);
      await first;
      const kernel = new SimKernel("sim:mlx5?size=4KiB");
      await using other = await openDevice(kernel.devices[0]!.path, { kernel });
      await assert.rejects(
        restoreChain(other, await verifyChain(folder)),
        (error: TransferError) =>
          /other memory than that of the checkpoint; the device is running/.test(error.message),
      );
    });
  });
});
