/** What the drivers did against the rules, as the library tells it. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  CheckpointError,
  type CheckpointSink,
  type DriverNote,
  MigrationError,
  openDevice,
  openDevices,
  restore,
  save,
  TransferError,
} from "../../mod.ts";

const ZERO = "sim:trapped?size=64KiB&fault=data-size-zero:2";

/** A sink that keeps nothing. */
function nowhere(): CheckpointSink {
  return {
    writable: new WritableStream(),
    commit: () => Promise.resolve(),
    abort: () => Promise.resolve(),
  };
}

function codes(notes: readonly DriverNote[]): [code: string, count: number][] {
  return notes.map(({ code, count }) => [code, count]);
}

describe("notes about a driver", () => {
  it("are in the report of the save that met them, and in the device's list", async () => {
    await using device = await openDevice(ZERO);
    const first = await save(device, nowhere());
    assert.deepEqual(codes(first.devices[0]!.notes), [["data-size-zero", 2]]);
    const second = await save(device, nowhere());
    assert.deepEqual(second.devices[0]!.notes, []);
    assert.deepEqual(device.notes, first.devices[0]!.notes);
  });

  it("are in the error of what failed", async () => {
    await using device = await openDevice(`${ZERO}&fault=read:1:EIO`);
    await assert.rejects(save(device, nowhere()), (error) => {
      assert.ok(error instanceof TransferError);
      assert.deepEqual(codes(error.devices[0]!.notes), [["data-size-zero", 2]]);
      assert.ok(error.cause instanceof MigrationError);
      assert.deepEqual(error.cause.notes, error.devices[0]!.notes);
      return true;
    });
  });

  it("are in the error of a checkpoint that turned out bad in the midst of a restore", async () => {
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    {
      await using device = await openDevice("sim:mlx5?size=64KiB");
      await save(device, {
        ...nowhere(),
        writable: new WritableStream({ write: (chunk) => void chunks.push(chunk.slice()) }),
      });
    }
    const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
    bytes[bytes.length - 1]! ^= 1;
    await using device = await openDevice("sim:mlx5?size=64KiB&fault=odd-flags");
    const source = {
      seekable: false,
      stream: () => new Blob([bytes]).stream() as ReadableStream<Uint8Array<ArrayBuffer>>,
    };
    await assert.rejects(restore(device, source), (error) => {
      assert.ok(error instanceof TransferError);
      assert.ok(error.cause instanceof CheckpointError);
      assert.deepEqual(codes(error.devices[0]!.notes), [["flags-undefined", 1]]);
      return true;
    });
  });

  it("are reported for each of several devices", async () => {
    await using devices = await openDevices(["sim:mlx5?size=64KiB", ZERO]);
    const { devices: reports } = await save(devices, nowhere());
    assert.deepEqual(reports.map(({ notes }) => codes(notes)), [[], [["data-size-zero", 2]]]);
  });

  it("are reported for each of several devices if one fails", async () => {
    await using devices = await openDevices([
      "sim:mlx5?size=64KiB&fault=read:1:EIO",
      "sim:qat?size=64KiB&fault=odd-flags",
    ]);
    await assert.rejects(save(devices, nowhere()), (error) => {
      assert.ok(error instanceof TransferError);
      assert.deepEqual(error.devices.map(({ notes }) => codes(notes)), [
        [],
        [["flags-undefined", 1]],
      ]);
      return true;
    });
  });

  it("are none for a driver that keeps to the rules, with any report", async () => {
    await using device = await openDevice("sim:trapped?size=64KiB");
    assert.deepEqual((await device.state()).notes, []);
    assert.deepEqual((await device.setState("stop")).notes, []);
    assert.deepEqual((await device.reset())?.notes, []);
  });
});
