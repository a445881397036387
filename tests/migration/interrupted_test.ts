import assert from "node:assert/strict";
import * as fs from "node:fs";
import process from "node:process";
import { describe, it } from "node:test";
import { restore } from "../../src/transfer/restore.ts";
import { save } from "../../src/transfer/save.ts";
import { libcAllowed } from "../../src/kernel/libc/libc_kernel.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { Gate, HELD } from "../_gate.ts";
import { memorySink, memorySource } from "../transfer/_several.ts";
import { collect, rejectsWith, withSim } from "./_sim.ts";

const KINDS = ["mlx5", "qat", "stop-copy-only", "mtty"] as const;

async function checkpointOf(kind: string): Promise<Uint8Array> {
  const kernel = new SimKernel(`${kind}?size=256KiB&seed=9`);
  await using device = await openDevice(kernel.devices[0]!.path, { kernel });
  const sink = memorySink();
  await save(device, sink);
  return sink.bytes;
}

/** Calls on the data fd of a whole save or restore, about. */
const CALLS = 6;

describe("a transfer that a signal interrupts when a part was moved", () => {
  for (const kind of KINDS) {
    it(`ends a save of ${kind}: nothing is written, and it runs again`, async () => {
      let struck = 0;
      for (let nth = 1; nth <= CALLS; nth++) {
        const spec = `${kind}?size=256KiB&chunk=64KiB&fault=eintr-partial:${nth}`;
        await withSim([spec], async ({ devices: [device], sims: [sim] }) => {
          const before = sim!.checksum();
          const sink = memorySink();
          const saving = save(device!, sink);
          if (await saving.then(() => true, () => false)) return;
          struck += 1;
          await rejectsWith(saving, {
            code: "interrupted-transfer",
            errno: "EINTR",
            recovery: "running",
            deviceState: "running",
            message:
              /a signal interrupted a read of the data fd, and what the driver had given by then may be lost \(EINTR\)/,
          });
          assert.equal(sink.state, "aborted");
          assert.equal(sim!.checksum(), before);
        });
      }
      assert.ok(struck > 0);
    });

    it(`ends a restore of ${kind}: it is reset`, async () => {
      const bytes = await checkpointOf(kind);
      let struck = 0;
      for (let nth = 1; nth <= CALLS; nth++) {
        const spec = `${kind}?size=256KiB&seed=2&fault=eintr-partial:${nth}`;
        await withSim([spec], async ({ devices: [device], sims: [sim] }) => {
          const before = sim!.checksum();
          const restoring = restore(device!, memorySource(bytes, 50_000));
          if (await restoring.then(() => true, () => false)) return;
          struck += 1;
          await rejectsWith(restoring, {
            code: "interrupted-transfer",
            errno: "EINTR",
            recovery: "reset",
            deviceState: "running",
            message:
              /a signal interrupted a write to the data fd, and how much the driver had taken is not known/,
          });
          assert.equal(sim!.checksum(), before);
        });
      }
      assert.ok(struck > 0);
    });
  }

  it("ends pre-copy, too", async () => {
    const spec = "mlx5?size=256KiB&fault=eintr-partial:1";
    await withSim([spec], ({ devices: [device] }) =>
      rejectsWith(collect(precopy(device!)), {
        code: "interrupted-transfer",
        recovery: "running",
        deviceState: "running",
      }));
  });
});

/** SIGINT, SIGTERM and SIGCHLD, as /proc shows a set of signals; SIGPWR and SIGPROF. */
const OURS = (1n << 1n) | (1n << 14n) | (1n << 16n);
const RUNTIMES = (1n << 29n) | (1n << 26n);

/** Threads that block what a process is sent from outside, and not what a runtime sends. */
function deaf(): Set<string> {
  return new Set(
    fs.readdirSync("/proc/self/task").filter((thread) => {
      let status: string;
      try {
        status = fs.readFileSync(`/proc/self/task/${thread}/status`, "utf8");
      } catch {
        // It has ended since the list was read.
        return false;
      }
      // In Bun the threads that help a Worker's engine inherit its mask.
      if (/^Name:\s*(HeapHelper|.*ollector Thread|JITWorker)$/m.test(status)) return false;
      const set = BigInt(`0x${/^SigBlk:\s*([0-9a-f]+)$/m.exec(status)![1]}`);
      return (set & OURS) === OURS && (set & RUNTIMES) === 0n;
    }),
  );
}

const proc = fs.existsSync("/proc/self/task") && libcAllowed();

describe(
  "signals",
  { skip: proc ? false : "no /proc/self/task, or libc may not be called" },
  () => {
    it("are blocked on the thread of a device, and arrive on another one", async () => {
      const before = deaf();
      const devices: Device[] = [];
      const gate = new Gate();
      for (const kind of ["trapped", "mlx5"]) {
        const name = `sim:${kind}?size=64KiB&fault=block:${HELD}`;
        devices.push(await openDevice(name, { worker: gate.worker() }));
      }
      try {
        // Looked at while their drivers block: a thread of Bun that waits for messages waits with an
        // empty mask (epoll_pwait).
        const saves = devices.map((device) => collect(stopAndCopy(device)));
        await gate.reached(devices.length);
        const seen = deaf().difference(before).size;
        gate.open();
        await Promise.all(saves);
        assert.ok(seen >= devices.length, `${seen} threads`);
        const arrived = Promise.withResolvers<void>();
        process.once("SIGTERM", () => arrived.resolve());
        process.kill(process.pid, "SIGTERM");
        // An idle device and a listener for signals keep no process alive.
        const alive = setInterval(() => {}, 1000);
        await arrived.promise.finally(() => clearInterval(alive));
      } finally {
        for (const device of devices) await device.close();
      }
    });
  },
);
