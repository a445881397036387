import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, it } from "node:test";
import { CheckpointError } from "../../src/checkpoint/checkpoint_error.ts";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import { IdentityError } from "../../src/transfer/identity/identity_error.ts";
import { restore } from "../../src/transfer/restore.ts";
import type { RestoreSource } from "../../src/transfer/sinks_and_sources.ts";
import { save, type SaveOptions } from "../../src/transfer/save.ts";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import { UnsupportedError } from "../../src/vfio/reasons/unsupported_error.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";
import { verifyCheckpoint } from "../../src/checkpoint/verify.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { MigrationError } from "../../src/migration/migration_error.ts";
import { Gate, HELD } from "../_gate.ts";
import { until } from "../_until.ts";
import { rejectsWith, stateOf, withSim } from "../migration/_sim.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-save-"));
after(() => fs.rmSync(folder, { recursive: true }));

let files = 0;
function name(): string {
  return path.join(folder, `${files += 1}.vfk`);
}

async function saveTo(at: string, device: Device, options?: SaveOptions): Promise<void> {
  await using file = await createCheckpointFile(at);
  await save(device, file, options);
}

/** A checkpoint on disk, of a simulated device with this spec. */
async function saved(spec: string): Promise<string> {
  const at = name();
  await withSim([spec], async ({ devices: [device] }) => await saveTo(at, device!));
  return at;
}

/** A source that can be read once, like a pipe. */
function pipe(bytes: Uint8Array): RestoreSource {
  return {
    seekable: false,
    stream: () => ReadableStream.from([new Uint8Array(bytes)]),
  };
}

describe("save()", () => {
  it("writes a checkpoint that a second device becomes equal by", async () => {
    const specs = ["mapped?size=4MiB&seed=1", "mapped?size=4MiB&seed=2"];
    await withSim(specs, async ({ devices: [from, to], sims }) => {
      const at = name();
      await saveTo(at, from!, { precopy: {} });
      assert.equal(await stateOf(from!), "running");
      await using source = await openCheckpointFile(at);
      const report = await restore(to!, source);
      assert.equal(report.state, "running");
      assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
    });
  });

  it("reports the device's true state, whichever read of it fails", async () => {
    for (const kind of ["state-read:N:EIO", "late-error:N"]) {
      for (const precopy of [undefined, {}]) {
        for (let nth = 1; nth <= 14; nth++) {
          await withSim(
            [`mlx5?size=64KiB&fault=${kind.replace("N", String(nth))}`],
            async ({ devices }) => {
              const [device] = devices;
              const error = await saveTo(name(), device!, { precopy }).then(
                () => null,
                (why) => why,
              );
              if (error === null) {
                return;
              }
              assert.ok(error instanceof TransferError, String(error));
              // What could not be read when it was looked at last is told as that.
              const now = await stateOf(device!);
              assert.ok(
                [now, "unknown"].includes(error.devices[0]!.state!),
                `${nth}: ${error.message}`,
              );
              assert.equal(now, "running", `${nth}: ${error.message}`);
            },
          );
        }
      }
    }
  });

  it("reports the phases one by one", async () => {
    await withSim(["trapped?size=1MiB"], async ({ devices: [device] }) => {
      await using file = await createCheckpointFile(name());
      const report = await save(device!, file, { precopy: {}, leave: "stop" });
      assert.deepEqual(report.phases.map((phase) => phase.name), ["pre-copy", "stop-and-copy"]);
      assert.equal(report.bytes, report.phases[0]!.bytes + report.phases[1]!.bytes);
      assert.equal(report.state, "stop");
      await device!.recover();
    });
  });

  it("writes zstd and sha256 if asked, and reads them back", async () => {
    const specs = ["trapped?size=2MiB&seed=1", "trapped?size=2MiB&seed=2"];
    await withSim(specs, async ({ devices: [from, to], sims }) => {
      const at = name();
      await saveTo(at, from!, { compress: "zstd", digest: "sha256" });
      await using source = await openCheckpointFile(at);
      const { trailer, frames } = await verifyCheckpoint(source.stream());
      assert.match(trailer.sha256!, /^[0-9a-f]{64}$/);
      assert.ok(frames.data > 0);
      await restore(to!, source);
      assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
    });
  });

  it("runs the device again and leaves no file when the driver fails", async () => {
    await withSim(["trapped?size=4MiB&fault=read:3:EIO"], async ({ devices: [device] }) => {
      const at = name();
      await rejectsWith(saveTo(at, device!), { errno: "EIO", deviceState: "running" });
      assert.equal(fs.existsSync(at), false);
    });
  });

  it("runs the device again when the disk is full", async () => {
    await withSim(["trapped?size=4MiB"], async ({ devices: [device] }) => {
      await rejectsWith(saveTo("/dev/full", device!), {
        errno: "ENOSPC",
        deviceState: "running",
        message: /ENOSPC.*the device is running/,
      });
    });
  });

  for (const phase of ["pre-copy", "stop-and-copy"] as const) {
    it(`runs the device again when it is interrupted in ${phase}`, async () => {
      await withSim(["trapped?size=64MiB"], async ({ devices: [device] }) => {
        const at = name();
        const abort = new AbortController();
        const sink = await createCheckpointFile(at);
        const writer = sink.writable.getWriter();
        const interrupting = {
          writable: new WritableStream<Uint8Array<ArrayBuffer>>({
            async write(chunk): Promise<void> {
              if (sink.bytes > 4 << 20) abort.abort(new Error("interrupted"));
              await writer.write(chunk);
            },
          }),
          commit: () => sink.commit(),
          abort: () => sink.abort(),
        };
        await rejectsWith(
          save(device!, interrupting, {
            ...(phase === "pre-copy" && { precopy: {} }),
            signal: abort.signal,
          }),
          {
            code: "cancelled",
            deviceState: "running",
            recovery: "running",
            message: /interrupted; the device is running again/,
          },
        );
        assert.equal(fs.existsSync(at), false);
        assert.deepEqual(fs.readdirSync(folder).filter((file) => file.includes("partial")), []);
      });
    });
  }

  const NOT_AGAIN = [
    ["transition:3:EIO&fault=transition:4:EIO", "reset", "stop", "none"],
    ["error-state:3", "reset", "running", "reset"],
    ["error-state:3", "leave", "error", "none"],
  ] as const;
  for (const [faults, onError, deviceState, recovery] of NOT_AGAIN) {
    it(`keeps a good file when the device does not run again: ${faults}, ${onError}`, async () => {
      const spec = `trapped?size=1MiB&fault=${faults}`;
      await withSim([spec], async ({ devices: [device] }) => {
        const at = name();
        const message = /run again, though the checkpoint is in its place: .*EIO/;
        await rejectsWith(saveTo(at, device!), { deviceState, recovery, message });
        await using source = await openCheckpointFile(at);
        assert.equal((await verifyCheckpoint(source.stream())).trailer.complete, true);
        assert.equal(await stateOf(device!), deviceState);
        await device!.reset();
      }, { onError });
    });
  }

  it("asks once more if the step back to running is refused", async () => {
    await withSim(["trapped?size=1MiB&fault=transition:3:EIO"], async ({ devices: [device] }) => {
      await saveTo(name(), device!);
      assert.equal(await stateOf(device!), "running");
    });
  });

  it("says why a device without a migration region cannot be saved", async () => {
    await withSim(["none"], async ({ devices: [device] }) => {
      // Not disposed of: the save itself must leave nothing behind.
      const file = await createCheckpointFile(name());
      await assert.rejects(save(device!, file), (error: TransferError) => {
        assert.ok(error.cause instanceof UnsupportedError);
        assert.equal(error.code, error.cause.reasons[0]!.code);
        return true;
      });
      assert.deepEqual(fs.readdirSync(folder).filter((entry) => entry.includes("partial")), []);
    });
  });
});

describe("restore()", () => {
  it("does not touch the device when the file is bad", async () => {
    const at = await saved("trapped?size=1MiB&seed=1");
    const bytes = fs.readFileSync(at);
    bytes[bytes.length - 100]! ^= 1;
    fs.writeFileSync(at, bytes);
    // The first write of device_state would fail: it must not come to that.
    const spec = "trapped?size=1MiB&seed=2&fault=error-state:1";
    await withSim([spec], async ({ devices: [device] }) => {
      await using source = await openCheckpointFile(at);
      await assert.rejects(
        restore(device!, source),
        ({ cause }: TransferError) => cause instanceof CheckpointError,
      );
      assert.equal(await stateOf(device!), "running");
    });
  });

  it("resets the device when a pipe ends badly", async () => {
    const bytes = fs.readFileSync(await saved("trapped?size=4MiB&seed=1&chunk=64KiB"));
    await withSim(["trapped?size=4MiB&seed=2&chunk=64KiB"], async ({ devices: [device], sims }) => {
      const before = sims[0]!.checksum();
      for (const cut of [bytes.length - 1, bytes.length >> 1, 100]) {
        await assert.rejects(
          restore(device!, pipe(bytes.subarray(0, cut))),
          (error: TransferError) => {
            assert.equal(error.code, "truncated");
            // Behind a whole frame the device has been given something.
            if (cut > 1 << 20) assert.match(error.message, /the device was reset and is running/);
            return true;
          },
        );
        assert.equal(await stateOf(device!), "running");
        assert.equal(sims[0]!.checksum(), before);
      }
    });
  });

  it("restores from a pipe", async () => {
    const bytes = fs.readFileSync(await saved("trapped?size=4MiB&seed=1"));
    await withSim(
      ["trapped?size=4MiB&seed=1", "trapped?size=4MiB&seed=2"],
      async ({ devices: [, device], sims }) => {
        await restore(device!, pipe(bytes));
        assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
      },
    );
  });

  it("refuses another kind of device, unless forced, before it is touched", async () => {
    const at = await saved("trapped?size=1MiB&seed=1");
    const spec = "mapped?size=1MiB&seed=2&fault=error-state:1";
    await withSim([spec], async ({ devices: [device] }) => {
      await using source = await openCheckpointFile(at);
      await assert.rejects(restore(device!, source), (error: TransferError) => {
        assert.ok(error.cause instanceof IdentityError);
        assert.match(error.message, /mdev type/);
        return true;
      });
      assert.equal(await stateOf(device!), "running");
    });
    await withSim(["mapped?size=1MiB&seed=2"], async ({ devices: [device] }) => {
      await using source = await openCheckpointFile(at);
      await restore(device!, source, { force: true });
    });
  });

  it("refuses a checkpoint of the other protocol, even forced", async () => {
    for (const [from, to] of [["trapped", "mlx5"], ["mlx5", "trapped"]]) {
      const at = await saved(`${from}?size=1MiB&seed=1`);
      await withSim([`${to}?size=1MiB&seed=2`], async ({ devices: [device] }) => {
        await using source = await openCheckpointFile(at);
        await assert.rejects(restore(device!, source, { force: true }), /the protocol is "v/);
        assert.equal(await stateOf(device!), "running");
      });
    }
  });

  it("leaves the device stopped if asked", async () => {
    const at = await saved("trapped?size=1MiB&seed=1");
    await withSim(["trapped?size=1MiB&seed=2"], async ({ devices: [device] }) => {
      await using source = await openCheckpointFile(at);
      assert.equal((await restore(device!, source, { leave: "stop" })).state, "stop");
    });
  });

  it("resets the device when it is interrupted", async () => {
    const bytes = fs.readFileSync(await saved("trapped?size=8MiB&seed=1"));
    await withSim(["trapped?size=8MiB&seed=2"], async ({ devices: [device], sims }) => {
      const before = sims[0]!.checksum();
      const abort = new AbortController();
      const stalling: RestoreSource = {
        seekable: false,
        stream: () =>
          new ReadableStream({
            start(controller): void {
              controller.enqueue(new Uint8Array(bytes.subarray(0, 5 << 20)));
            },
          }),
      };
      const restoring = rejectsWith(restore(device!, stalling, { signal: abort.signal }), {
        code: "cancelled",
        deviceState: "running",
        recovery: "reset",
        message: /interrupted; the device was reset and is running/,
      });
      await until(() => device!.progress().bytes > 0, "data is restored");
      abort.abort();
      await restoring;
      assert.equal(sims[0]!.checksum(), before);
    });
  });
});

describe("a device on a thread", () => {
  it("does not stop the event loop while the driver blocks, and can be interrupted", async () => {
    const gate = new Gate();
    await using device = await openDevice(`sim:trapped?size=4MiB&fault=block:${HELD}:1`, {
      worker: gate.worker(),
    });
    const abort = new AbortController();
    const file = await createCheckpointFile(name());
    const saving = rejectsWith(save(device, file, { signal: abort.signal }), {
      code: "cancelled",
      deviceState: "running",
    });
    // The first transaction blocks: interrupted, it is waited for.
    await gate.reached();
    abort.abort();
    gate.open();
    await saving;
  });

  it("brings its errors over whole", async () => {
    await using device = await openDevice("sim:trapped?size=1MiB&fault=transition:1:EBUSY");
    await assert.rejects(device.setState("stop"), (error: MigrationError) => {
      assert.ok(error instanceof MigrationError);
      assert.equal(error.errno, "EBUSY");
      assert.equal(error.lost, false);
      assert.equal((error.cause as Error).name, "SysError");
      return true;
    });
    await assert.rejects(openDevice("sim:nothing"), { name: "SimSpecError" });
    await assert.rejects(openDevice("sim:trapped?fault=group-busy"), { name: "BusyError" });
    await assert.rejects(openDevice("no such thing"), { name: "DeviceNameError" });
  });
});
