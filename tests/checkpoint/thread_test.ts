// Saving and restoring over an fd, by threads.

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { CheckpointError } from "../../src/checkpoint/checkpoint_error.ts";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import { restore } from "../../src/transfer/restore.ts";
import { save, type SaveOptions } from "../../src/transfer/save.ts";
import type { TransferError } from "../../src/transfer/transfer_error.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";
import { verifyCheckpoint } from "../../src/checkpoint/verify.ts";
import { O_NONBLOCK, O_RDWR, POLLIN } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { DeviceClosedError } from "../../src/migration/closed_error.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import type { MigrationError } from "../../src/migration/migration_error.ts";
import { Gate, HELD } from "../_gate.ts";
import { until } from "../_until.ts";
import { rejectsWith, stateOf } from "../migration/_sim.ts";
import { read, whole } from "./_tools.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-thread-"));
after(() => fs.rmSync(folder, { recursive: true }));

const kernel = libcKernel();

let files = 0;
function name(): string {
  return path.join(folder, `${files += 1}.vfk`);
}

async function saveTo(at: string, device: Device, options?: SaveOptions): Promise<void> {
  await using file = await createCheckpointFile(at);
  await save(device, file, options);
  // Had the stream been used, it would have counted.
  assert.equal(file.bytes, 0);
}

/** A checkpoint on disk, of a simulated device. */
async function saved(spec: string): Promise<string> {
  const at = name();
  await using device = await openDevice(`sim:${spec}`);
  await saveTo(at, device);
  return at;
}

/** CRC-32 of the device's state, and how often the protocol was violated: its vendor window says. */
async function window(device: Device): Promise<{ crc32: number; violations: number }> {
  const view = new DataView((await device.readRegion(0, 0, 4096)).buffer);
  return { crc32: view.getUint32(24, true), violations: view.getUint32(8, true) };
}

/** A fifo with a program behind it that writes. */
function fifo(script: string, ...args: string[]): { at: string; writer: ChildProcess } {
  const at = name();
  execFileSync("mkfifo", [at]);
  const writer = spawn("sh", ["-c", script, "sh", at, ...args], { stdio: "ignore" });
  return { at, writer };
}

/** A thread whose driver takes one write and no more; `stuck` resolves in the midst of the others. */
function stuckWorker(): { worker: Worker; stuck: () => Promise<void> } {
  const writes = new Int32Array(new SharedArrayBuffer(4));
  const script = new URL("./_stuck_worker.ts", import.meta.url);
  return {
    worker: new Worker(script, { workerData: writes.buffer }),
    stuck: () => until(() => Atomics.load(writes, 0) > 2, "the driver takes no data"),
  };
}

const SPEC = "trapped?size=4MiB&chunk=64KiB";

describe("saving a device on a thread to a file", () => {
  it("yields a good checkpoint that another device becomes equal by", async () => {
    await using from = await openDevice(`sim:${SPEC}&seed=1&rate=64MiB`);
    await using to = await openDevice(`sim:${SPEC}&seed=2`);
    const at = name();
    await saveTo(at, from, { precopy: { maxRounds: 3 }, leave: "stop" });
    await using source = await openCheckpointFile(at);
    const { phases } = await verifyCheckpoint(source.stream());
    assert.deepEqual(phases.map(({ phase }) => phase), ["pre-copy", "stop-and-copy"]);
    const report = await restore(to, source, { leave: "stop" });
    assert.equal(report.state, "stop");
    assert.equal(report.bytes, phases.reduce((sum, { bytes }) => sum + bytes, 0));
    const [a, b] = [await window(from), await window(to)];
    assert.equal(a.crc32, b.crc32);
    assert.deepEqual([a.violations, b.violations], [0, 0]);
  });

  it("has the same transactions in it as by streams", async () => {
    const at = await saved(`${SPEC}&seed=1`);
    const streamed: Uint8Array<ArrayBuffer>[] = [];
    await using device = await openDevice(`sim:${SPEC}&seed=1`);
    await save(device, {
      writable: new WritableStream({ write: (chunk) => void streamed.push(chunk.slice()) }),
      commit: async () => {},
      abort: async () => {},
    });
    const bytes = new Uint8Array(await new Blob(streamed).arrayBuffer());
    assert.deepEqual(
      whole(read(new Uint8Array(fs.readFileSync(at))).transactions),
      whole(read(bytes).transactions),
    );
  });

  it("goes to an fd that the caller has opened, which stays open, and comes from one", async () => {
    await using from = await openDevice(`sim:${SPEC}&seed=1`);
    await using to = await openDevice(`sim:${SPEC}&seed=2`);
    const at = name();
    const target = fs.openSync(at, "w");
    const report = await save(from, target);
    assert.equal(report.readBack.reason, "not-a-file");
    fs.closeSync(target);
    const origin = fs.openSync(at, "r");
    await restore(to, origin);
    fs.closeSync(origin);
    assert.equal((await window(to)).crc32, (await window(from)).crc32);
  });

  it("is compressed and digested there", async () => {
    await using device = await openDevice(`sim:${SPEC}`);
    const at = name();
    await saveTo(at, device, { compress: "zstd", digest: "sha256" });
    await using source = await openCheckpointFile(at);
    assert.match((await verifyCheckpoint(source.stream())).trailer.sha256!, /^[0-9a-f]{64}$/);
  });

  it("runs again when the driver fails, and leaves no file", async () => {
    await using device = await openDevice(`sim:${SPEC}&fault=read:3:EIO`);
    const at = name();
    await rejectsWith(saveTo(at, device), { errno: "EIO", deviceState: "running" });
    assert.equal(fs.existsSync(at), false);
    assert.equal(await stateOf(device), "running");
  });

  it("runs again when the disk is full", async () => {
    await using device = await openDevice(`sim:${SPEC}`);
    const full = fs.openSync("/dev/full", "w");
    let aborted = 0;
    const sink = {
      path: "a.vfk",
      fd: full,
      writable: new WritableStream<Uint8Array<ArrayBuffer>>(),
      commit: () => assert.fail("nothing to commit"),
      abort: () => Promise.resolve(void (aborted += 1)),
    };
    await rejectsWith(save(device, sink), {
      code: "io",
      errno: "ENOSPC",
      deviceState: "running",
      message: /Cannot write "a\.vfk": ENOSPC.*the device is running/,
    });
    fs.closeSync(full);
    assert.equal(aborted, 1);
  });

  it("runs again when it is interrupted, and leaves no file", async () => {
    const gate = new Gate();
    await using device = await openDevice(`sim:trapped?size=64MiB&fault=block:${HELD}:20`, {
      worker: gate.worker(),
    });
    const at = name();
    const abort = new AbortController();
    const saving = rejectsWith(saveTo(at, device, { signal: abort.signal }), {
      code: "cancelled",
      deviceState: "running",
      recovery: "running",
    });
    await gate.reached();
    abort.abort();
    gate.open();
    await saving;
    assert.deepEqual(fs.readdirSync(folder).filter((file) => file.includes(path.basename(at))), []);
  });
});

describe("restoring a device on a thread", () => {
  it("reads a pipe, whatever it gives at a time", async () => {
    const from = await saved(`${SPEC}&seed=1`);
    for (const size of [1, 4096, 1 << 20]) {
      // A byte at a time of the first KiB, then all the rest.
      const script = `exec >"$1"; dd if="$2" bs=${size} count=${
        size === 1 ? 1000 : 0
      } status=none; dd if="$2" bs=1000 skip=${size === 1 ? 1 : 0} status=none`;
      const { at } = fifo(script, from);
      await using same = await openDevice(`sim:${SPEC}&seed=1`);
      await using device = await openDevice(`sim:${SPEC}&seed=2`);
      await using source = await openCheckpointFile(at);
      await restore(device, source);
      assert.deepEqual(await window(device), await window(same));
    }
  });

  it("is reset when a pipe ends badly", async () => {
    const from = await saved(`${SPEC}&seed=1`);
    await using device = await openDevice(`sim:${SPEC}&seed=2`);
    const before = await window(device);
    for (const bytes of [fs.statSync(from).size - 1, 3 << 20]) {
      const { at } = fifo('head -c "$3" "$2" >"$1"', from, String(bytes));
      await using source = await openCheckpointFile(at);
      await assert.rejects(restore(device, source), (error: TransferError) => {
        assert.ok(error.cause instanceof CheckpointError);
        assert.equal(error.code, "truncated");
        assert.match(error.message, /the device was reset and is running/);
        return true;
      });
      assert.equal(await stateOf(device), "running");
      assert.deepEqual(await window(device), before);
    }
  });

  it("is not touched if a frame before its data is bad", async () => {
    const from = await saved(`${SPEC}&seed=1`);
    const { at } = fifo('(head -c 60 "$2"; head -c 4096 /dev/zero) >"$1"', from);
    // The first write of device_state would fail: it must not come to that.
    await using device = await openDevice(`sim:${SPEC}&fault=error-state:1`);
    await using source = await openCheckpointFile(at);
    await assert.rejects(
      restore(device, source),
      ({ cause }: TransferError) => cause instanceof CheckpointError,
    );
    assert.equal(await stateOf(device), "running");
  });

  it("can be interrupted while a pipe gives nothing", async () => {
    const from = await saved(`${SPEC}&seed=1`);
    // Within the header, and within the data.
    for (const bytes of [50, 3 << 20]) {
      const { at, writer } = fifo('head -c "$3" "$2" >"$1"', from, String(bytes));
      // It stays open, and has no more to give.
      const held = kernel.open(at, O_RDWR | O_NONBLOCK);
      const written = once(writer, "exit");
      await using device = await openDevice(`sim:${SPEC}&seed=2`);
      const before = await window(device);
      await using source = await openCheckpointFile(at);
      const abort = new AbortController();
      const restoring = rejectsWith(restore(device, source, { signal: abort.signal }), {
        code: "cancelled",
        deviceState: "running",
        recovery: bytes === 50 ? "none" : "reset",
      });
      await written;
      await until(() => kernel.poll(held, POLLIN, 0) === 0, "the fifo is read");
      if (bytes > 50) await until(() => device.progress().bytes > 0, "data is restored");
      abort.abort();
      await restoring;
      assert.deepEqual(await window(device), before);
      kernel.close(held);
    }
  });

  for (const way of ["an fd", "a stream"]) {
    it(`can be interrupted while the driver takes no data, by ${way}`, async () => {
      const at = await saved("mlx5?size=1MiB&seed=1");
      const { worker, stuck } = stuckWorker();
      await using device = await openDevice("sim:mlx5?size=1MiB&seed=2", { worker });
      await using file = await openCheckpointFile(at);
      const source = way === "an fd" ? file : { seekable: false, stream: () => file.stream() };
      const abort = new AbortController();
      const restoring = restore(device, source, { signal: abort.signal });
      await stuck();
      abort.abort();
      await rejectsWith(restoring, { deviceState: "running", recovery: "reset" });
      assert.equal(await stateOf(device), "running");
    });
  }

  it("is closed while the driver takes no data", async () => {
    const { worker, stuck } = stuckWorker();
    const device = await openDevice("sim:mlx5?size=1MiB&seed=2", { worker });
    await using file = await openCheckpointFile(await saved("mlx5?size=1MiB&seed=1"));
    const restoring = restore(device, file);
    await stuck();
    const closing = device.close();
    await assert.rejects(restoring, ({ cause: error }: TransferError) => {
      assert.ok(error instanceof DeviceClosedError);
      // What was under way was cut short, and told.
      const { recovery } = error.cause as MigrationError;
      assert.deepEqual([error.code, error.deviceState, recovery], ["closed", "running", "reset"]);
      return true;
    });
    await closing;
  });

  it("says which file cannot be read", async () => {
    await using device = await openDevice(`sim:${SPEC}`);
    const source = {
      path: "a.vfk",
      seekable: false,
      stream: () => assert.fail("the fd is there"),
      file: { fd: 987, position: 0 },
    };
    await rejectsWith(restore(device, source), { message: /Cannot read "a\.vfk": EBADF/ });
  });
});
