// A device that is closed, or whose thread dies, in the midst of anything: all that was asked of
// it settles, with one error, and nothing is left behind.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, it } from "node:test";
import { Worker as NodeWorker } from "node:worker_threads";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import { restore } from "../../src/transfer/restore.ts";
import { save } from "../../src/transfer/save.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";
import { openFds } from "../../src/kernel/fd.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { DeviceClosedError } from "../../src/migration/closed_error.ts";
import { type AnyWorker, type Device, openDevice } from "../../src/migration/device.ts";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { openFiles } from "../_open_files.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-closing-"));
after(() => fs.rmSync(folder, { recursive: true }));

const SPEC = "mlx5?size=96KiB&chunk=32KiB";
const checkpoint = path.join(folder, "one.vfk");
const pair = path.join(folder, "two.vfk");

/** What is done to the device that is to be closed; the other one stays open. */
type Operation = (device: Device, other: Device, at: string) => Promise<unknown>;

async function saved(device: Device, at: string, precopied: boolean): Promise<void> {
  await using file = await createCheckpointFile(at);
  await save(device, file, precopied ? { precopy: {} } : {});
}

/** The way over the streams, where there is no fd. */
async function streamed(device: Device, at: string): Promise<void> {
  await using file = await createCheckpointFile(at);
  const sink = {
    writable: file.writable,
    commit: () => file.commit(),
    abort: () => file.abort(),
  };
  await save(device, sink, { precopy: {} });
}

async function restored(device: Device, seekable: boolean): Promise<void> {
  await using source = await openCheckpointFile(checkpoint);
  await restore(device, seekable ? source : { seekable: false, stream: () => source.stream() });
}

const OPERATIONS: Readonly<Record<string, Operation>> = {
  state: (device) => device.state(),
  setState: async (device) => {
    await device.setState("stop");
    await device.setState("running");
  },
  reset: (device) => device.reset(),
  recover: async (device) => {
    await device.setState("stop");
    await device.recover();
  },
  readRegion: (device) => device.readRegion(0, 0, 64),
  "save to a file": (device, _, at) => saved(device, at, false),
  "save with pre-copy": (device, _, at) => saved(device, at, true),
  "save over streams": (device, _, at) => streamed(device, at),
  "restore from a file": (device) => restored(device, true),
  "restore over streams": (device) => restored(device, false),
  "save of two": async (device, other, at) => {
    await using file = await createCheckpointFile(at);
    await save([device, other], file, { precopy: {} });
  },
  "restore of two": async (device, other) => {
    await using source = await openCheckpointFile(pair);
    await restore([device, other], source);
  },
  "pre-copy and stop-and-copy as streams": async (device) => {
    for (const stream of [precopy(device), stopAndCopy(device)]) {
      const reader = stream.getReader();
      const closed = reader.closed;
      while (!(await reader.read()).done);
      await closed;
    }
  },
  "resume as a stream": async (device, other) => {
    const transactions = await Array.fromAsync(stopAndCopy(other));
    const writer = resume(device).getWriter();
    const closed = writer.closed;
    closed.catch(() => {});
    try {
      for (const transaction of transactions) await writer.write(transaction);
      await writer.close();
    } catch {
      // What it was that ended the stream, `closed` says.
    }
    await closed;
  },
};

/** What an operation came to; a string where it did not in a long time. */
async function outcome(work: Promise<unknown>): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve("it is still pending"), 60_000);
  });
  try {
    return await Promise.race([work.then(() => null, (error) => error), late]);
  } finally {
    clearTimeout(timer);
  }
}

function check(error: unknown, code: "closed" | "thread-ended", where: string): void {
  if (error === null) return;
  const told = error instanceof TransferError ? error.cause : error;
  assert.ok(told instanceof DeviceClosedError, `${where}: ${String(told)}`);
  assert.equal(told.code, code, where);
}

async function nothingLeft(at: string, error: unknown, where: string): Promise<void> {
  const partial = fs.readdirSync(folder).filter((name) => name.endsWith(".partial"));
  assert.deepEqual(partial, [], where);
  // What failed before the commit is not there; what came to it is whole.
  if (error !== null && fs.existsSync(at)) {
    assert.match(String(error), /the checkpoint is in its place/, where);
    await using source = await openCheckpointFile(at);
    await using device = await openDevice(`sim:${SPEC}`);
    await outcome(restore(device, source));
  }
  fs.rmSync(at, { force: true });
  assert.deepEqual(openFiles().filter(({ target }) => target.startsWith(folder)), [], where);
}

async function files(): Promise<void> {
  if (fs.existsSync(checkpoint)) return;
  await using one = await openDevice(`sim:${SPEC}&seed=1`);
  await using two = await openDevice(`sim:${SPEC}&seed=2`);
  await saved(one, checkpoint, false);
  await using file = await createCheckpointFile(pair);
  await save([one, two], file);
}

/** Calls `at` before each call of a kernel, with its number. */
function counting(kernel: Kernel, at: (call: number) => void): Kernel {
  let calls = 0;
  return new Proxy(kernel, {
    get(target, key): unknown {
      const value = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return (...args: readonly unknown[]) => {
        at(calls++);
        return value.apply(target, args);
      };
    },
  });
}

describe("a device on this thread, closed at any call of its kernel", () => {
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    it(`settles ${name}`, async () => {
      await files();
      let reached = true;
      for (let stop = 0; reached; stop++) {
        reached = false;
        const kernel = new SimKernel(`${SPEC}&seed=1`, `${SPEC}&seed=2`);
        let close = (): void => {};
        const watched = counting(kernel, (call) => {
          if (call !== stop) return;
          reached = true;
          queueMicrotask(() => close());
        });
        const [{ path: first }, { path: second }] = kernel.devices as [never, never];
        const other = await openDevice(second, { kernel });
        const device = await openDevice(first, { kernel: watched });
        close = (): void => void device.close();
        if (reached) {
          // While it was being opened, when nobody could close it.
          for (const each of [device, other]) await each.close();
          continue;
        }
        const at = path.join(folder, "target.vfk");
        const error = await outcome(operation(device, other, at));
        const where = `${name}, closed at call ${stop}`;
        check(error, "closed", where);
        await device.close();
        await assert.rejects(device.state(), DeviceClosedError);
        await other.close();
        assert.deepEqual([kernel.openObjects, openFds()], [[], []], where);
        await nothingLeft(at, error, where);
      }
    });
  }
});

const SCRIPT = new URL("../../src/migration/thread/device_worker.ts", import.meta.url);

/** The kinds of Workers that a device can be served in. */
const WORKERS: Readonly<Record<string, () => AnyWorker>> = {
  "a Web Worker": () => new Worker(SCRIPT, { type: "module" }),
  "a Worker of node:worker_threads": () => new NodeWorker(SCRIPT),
};

/** Calls `at` right after each message to a Worker, and once it may have been served. */
function countMessages(worker: AnyWorker, at: (moment: number) => void): void {
  let moments = 0;
  const post = worker.postMessage.bind(worker) as (...args: unknown[]) => void;
  worker.postMessage = (...args: unknown[]): void => {
    post(...args);
    const [now, later] = [moments++, moments++];
    at(now);
    setTimeout(() => at(later), 1);
  };
}

/**
 * Every fifth moment in Deno, where a Worker starts slowly, so right after a message and once it may
 * have been served in turns; Bun tries all.
 */
const STEP = "Deno" in globalThis ? 5 : 1;

/** What is tried in the kind of Worker that this runtime does not start by itself. */
const FEW = ["state", "save to a file", "restore over streams"];

for (const [index, [kind, start]] of Object.entries(WORKERS).entries()) {
  const all = (index === 0) !== ("Deno" in globalThis);
  for (const end of ["closed", "thread-ended"] as const) {
    const what = end === "closed" ? "closed" : "terminated";
    describe(`a device in ${kind}, ${what} at any message`, () => {
      for (const [name, operation] of Object.entries(OPERATIONS)) {
        if (!all && !FEW.includes(name)) continue;
        it(`settles ${name}`, async () => {
          await files();
          await using other = await openDevice(`sim:${SPEC}&seed=2`);
          let reached = true;
          // The first two are about opening it.
          for (let stop = 2; reached; stop += STEP) {
            reached = false;
            const worker = start();
            let strike = (): void => {};
            countMessages(worker, (moment) => {
              if (moment !== stop) return;
              reached = true;
              strike();
            });
            const device = await openDevice(`sim:${SPEC}&seed=1`, { worker });
            strike = () => void (end === "closed" ? device.close() : worker.terminate());
            const at = path.join(folder, "target.vfk");
            const error = await outcome(operation(device, other, at));
            strike = () => {};
            const where = `${name}, ${what} at moment ${stop}`;
            check(error, end, where);
            assert.equal(await outcome(device.close()), null, where);
            assert.ok(await outcome(device.state()) instanceof DeviceClosedError, where);
            await nothingLeft(at, error, where);
            await other.reset();
          }
        });
      }
    });
  }
}
