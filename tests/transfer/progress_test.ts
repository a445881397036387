import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, it } from "node:test";
import {
  type Device,
  openCheckpointFile,
  openDevice,
  openDevices,
  restore,
  save,
  TransferError,
  type TransferProgress,
} from "../../mod.ts";
import { createCheckpointFile, inspectCheckpoint } from "../../src/checkpoint/mod.ts";
import { Gate, HELD } from "../_gate.ts";
import { until } from "../_until.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-progress-"));
after(() => fs.rmSync(folder, { recursive: true }));

let files = 0;

/** A checkpoint of a device, and what was reported while it was made. */
async function savedWith(
  devices: Device | readonly Device[],
  onProgress: (progress: TransferProgress) => void,
): Promise<{ at: string; report: Awaited<ReturnType<typeof save>> }> {
  const at = path.join(folder, `${files += 1}.vfk`);
  await using file = await createCheckpointFile(at);
  return { at, report: await save(devices, file, { precopy: {}, onProgress }) };
}

/** The steps that were reported, each once, if the numbers of moved bytes never went down. */
function stepsOf(events: readonly TransferProgress[]): string[] {
  events.slice(1).forEach(({ bytes, transactions }, index) => {
    assert.ok(bytes >= events[index]!.bytes, `${bytes} after ${events[index]!.bytes} bytes`);
    assert.ok(transactions >= events[index]!.transactions);
  });
  return events.map(({ step }) => step).filter((step, index, all) => step !== all[index - 1]);
}

describe("the progress of a save and a restore", () => {
  for (const names of [["sim:mlx5?size=1MiB"], ["sim:mlx5?size=1MiB", "sim:trapped?size=1MiB"]]) {
    it(`ends with the numbers of the report: ${names.join(", ")}`, async () => {
      await using devices = await openDevices(names);
      const events: TransferProgress[] = [];
      const { at, report } = await savedWith(devices, (event) => events.push(event));
      assert.deepEqual(stepsOf(events), ["pre-copy", "stop-and-copy", "read-back", "done"]);
      const { transactions, bytes } = report;
      assert.ok(bytes > 0);
      const end = { step: "done", pendingBytes: null, checkedBytes: null, unansweredMs: 0 };
      assert.deepEqual(events.at(-1), { ...end, transactions, bytes });
      assert.deepEqual(devices.map((device) => device.progress().pendingBytes), names.map(() => 0));
      const back: TransferProgress[] = [];
      await using source = await openCheckpointFile(at);
      const restored = await restore(devices, source, { onProgress: (event) => back.push(event) });
      assert.deepEqual(stepsOf(back), ["verify", "resuming", "done"]);
      assert.equal(restored.bytes, bytes);
      assert.deepEqual(back.at(-1), { ...end, transactions, bytes });
    });
  }

  it("goes on while a driver blocks, and says for how long", async () => {
    const gate = new Gate();
    await using device = await openDevice(`sim:mlx5?size=1MiB&fault=block:${HELD}:2`, {
      worker: gate.worker(),
    });
    const events: TransferProgress[] = [];
    const saving = savedWith(device, (event) => events.push(event));
    await gate.reached();
    await until(() => (events.at(-1)?.unansweredMs ?? 0) > 0, "the silence is reported");
    gate.open();
    const { report } = await saving;
    assert.equal(events.at(-1)!.bytes, report.bytes);
  });

  it("begins with the header of a checkpoint that comes from a stream", async () => {
    await using device = await openDevice("sim:mlx5?size=1MiB");
    const { at } = await savedWith(device, () => {});
    const events: TransferProgress[] = [];
    const late = new ReadableStream<Uint8Array>({
      async pull(controller): Promise<void> {
        // Longer than it takes between two reports.
        await new Promise((wake) => setTimeout(wake, 300));
        controller.enqueue(new Uint8Array(fs.readFileSync(at)));
        controller.close();
      },
    });
    await restore(device, late, { onProgress: (event) => events.push(event) });
    assert.deepEqual(stepsOf(events), ["resuming", "done"]);
  });

  it("ends the work with what onProgress throws, and the device runs", async () => {
    await using device = await openDevice("sim:mlx5?size=1MiB");
    const enough = new Error("enough");
    for (const at of ["pre-copy", "stop-and-copy"]) {
      const saving = savedWith(device, ({ step }) => {
        if (step === at) throw enough;
      });
      await assert.rejects(saving, (error: TransferError) => {
        assert.ok(error instanceof TransferError);
        assert.equal(error.cause, enough);
        return true;
      });
      assert.equal((await device.state()).state, "running");
    }
    assert.deepEqual(fs.readdirSync(folder).filter((name) => name === `${files}.vfk`), []);
  });
});

describe("the progress of checking a checkpoint", () => {
  it("ends with the numbers of what is returned, of a bad one, too", async () => {
    await using device = await openDevice("sim:mlx5?size=1MiB");
    const { at } = await savedWith(device, () => {});
    const bytes = new Uint8Array(fs.readFileSync(at));
    for (const length of [0, 100, bytes.length >> 1, bytes.length]) {
      const seen: unknown[] = [];
      const chunks = ReadableStream.from([
        bytes.subarray(0, length >> 1),
        bytes.subarray(length >> 1, length),
      ]);
      const { storedBytes, frames, error } = await inspectCheckpoint(chunks, {
        onProgress: (progress) => seen.push(progress),
      });
      assert.equal(error === null, length === bytes.length);
      assert.deepEqual(seen.at(-1), { storedBytes, frames });
    }
  });
});
