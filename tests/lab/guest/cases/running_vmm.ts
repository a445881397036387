/**
 * Devices of a QEMU that runs in the guest, looked at, saved and restored from outside.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { type GuestDevice, lacks, type V2Type, withDevice } from "../device.ts";
import { type Case, firstKernel } from "../harness.ts";
import { lacksMtty, Mtty, type Port } from "../mtty.ts";
import { bun, deno, expectExit, type Runtime, start, vfiokit, wholeJson } from "../programs.ts";
import { contentOf, forge } from "../forge.ts";
import { Qemu } from "../vmm.ts";

/** States of v2 (enum vfio_device_mig_state). */
const STOP = 1;
/** See {@linkcode STOP}. */
const RUNNING = 2;
/** See {@linkcode STOP}. */
const STOP_COPY = 3;
/** See {@linkcode STOP}. */
const RESUMING = 4;

/** With pre-copy, which QEMU then uses, if the kernel has it. */
const TYPE: V2Type = lacks("v2-full") === null ? "v2-full" : "v2";

interface StateDocument {
  readonly device: string;
  readonly protocol: string | null;
  readonly state: string | null;
}

/** Starts a QEMU with a mediated device. */
function qemuWith({ uuid }: { readonly uuid: string }, folder: string): Promise<Qemu> {
  return Qemu.start({ suite: "trixie", devices: [`/sys/bus/mdev/devices/${uuid}`], folder });
}

/** Lends a device of the guest driver that a QEMU has open. */
async function withQemu(
  size: number,
  folder: string,
  use: (qemu: Qemu, device: GuestDevice) => Promise<void>,
): Promise<void> {
  await withDevice(TYPE, { size, chunk: 64 << 10 }, async (device) => {
    await using qemu = await qemuWith(device, folder);
    await use(qemu, device);
  });
}

/** The words that save a device of a QEMU. */
function saveWords(qemu: Qemu, file: string, runtime: Runtime): string[] {
  const words = ["save", `pid:${qemu.pid}`, "--qmp", qemu.qmp, "-o", file, "--force"];
  return [...vfiokit(runtime), ...words, "--quiet"];
}

/** The words that restore a device of a QEMU. */
function restoreWords(qemu: Qemu, file: string, runtime: Runtime): string[] {
  const words = ["restore", `pid:${qemu.pid}`, "--qmp", qemu.qmp, file];
  return [...vfiokit(runtime), ...words, "--quiet"];
}

/** The words that bring them together again. */
function repairWords(qemu: Qemu, runtime: Runtime, ...more: readonly string[]): string[] {
  const words = ["state", `pid:${qemu.pid}`, "--repair", "--qmp", qemu.qmp];
  return [...vfiokit(runtime), ...words, ...more, "--quiet"];
}

/** A machine that runs, with a device that migrates when QEMU wants it to. */
async function assertWhole(qemu: Qemu, folder: string): Promise<void> {
  await until(async () => await qemu.status() === "running", "the machine runs again");
  await qemu.migrateTo(`${folder}/afterwards`);
  // QEMU has stopped the machine at the end of the migration.
  await qemu.execute("cont");
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; tries < 6000; tries++) {
    if (await holds()) return;
    await sleep(50);
  }
  throw new Error(`Cannot wait any longer until ${what}`);
}

/** The state in two checkpoints is the same. */
async function assertEqualStates(first: string, second: string): Promise<void> {
  assert.deepEqual((await contentOf(second)).state, (await contentOf(first)).state);
}

/** A device that QEMU drives is looked at, saved, and gets the same state back. */
const used: Case = {
  name: "vmm: a device of a running QEMU: state, save, restore, and QEMU migrates it",
  lacks: () => lacks(TYPE),
  run: async (folder) => {
    await withQemu(512 << 10, folder, async (qemu, device) => {
      const state = async (...more: readonly string[]): Promise<StateDocument> =>
        wholeJson(
          await expectExit(0, [...vfiokit(bun), "state", `pid:${qemu.pid}`, "--json", ...more]),
        );
      assert.equal((await state("--trace", `${folder}/trace`)).state, "running");
      assert.match(readFileSync(`${folder}/trace`, "utf8"), /MIG_DEVICE_STATE/);
      await expectExit(0, saveWords(qemu, `${folder}/1`, deno));
      assert.deepEqual([device.state, await qemu.status()], [RUNNING, "running"]);
      await expectExit(0, restoreWords(qemu, `${folder}/1`, bun));
      assert.deepEqual([device.state, await qemu.status()], [RUNNING, "running"]);
      assert.ok(!existsSync(`${folder}/1.rollback`));
      // A machine that is paused stays paused.
      await qemu.execute("stop");
      const stopped = await state();
      assert.equal(stopped.state, "stop");
      assert.match(stopped.device, /^pid:\d+\/\d+$/);
      await expectExit(0, saveWords(qemu, `${folder}/2`, bun));
      assert.deepEqual([device.state, await qemu.status()], [STOP, "paused"]);
      await qemu.execute("cont");
      await assertEqualStates(`${folder}/1`, `${folder}/2`);
      await assertWhole(qemu, folder);
    });
  },
};

/** What is in the ports of mtty. */
const FILLED: readonly Port[] = [
  { scratch: 0x5a, sent: [1, 2, 3, 0xff] },
  { scratch: 0xa5, sent: [9, 8, 7] },
];

/** The kernel's own sample device. */
const sample: Case = {
  name: "vmm: mtty: the kernel's sample device of a running QEMU is saved, restored and migrated",
  long: true,
  lacks: lacksMtty,
  run: async (folder) => {
    using device = new Mtty(2);
    FILLED.forEach((port, number) => device.fill(number, port));
    {
      await using qemu = await qemuWith(device, folder);
      await expectExit(0, saveWords(qemu, `${folder}/1`, bun));
      await expectExit(0, restoreWords(qemu, `${folder}/1`, bun));
      await expectExit(0, saveWords(qemu, `${folder}/2`, bun));
      await assertEqualStates(`${folder}/1`, `${folder}/2`);
      await assertWhole(qemu, folder);
    }
    assert.deepEqual(FILLED.map(({ sent }, port) => device.drain(port, sent.length)), FILLED);
  },
};

/** A state that the driver refuses is not left in the device. */
const refused: Case = {
  name: "vmm: restore: a state that the driver refuses: a reset, and the former state",
  long: true,
  lacks: () => lacks(TYPE),
  run: async (folder) => {
    await withQemu(128 << 10, folder, async (qemu, device) => {
      await expectExit(0, saveWords(qemu, `${folder}/1`, bun));
      const { identity, state } = await contentOf(`${folder}/1`);
      const file = `${folder}/damaged`;
      await forge(file, { identity, state: state.slice(0, -1) });
      const ended = await expectExit(4, restoreWords(qemu, file, bun));
      assert.match(ended.stderr, /the device has its former state again/);
      assert.ok(!existsSync(`${file}.rollback`));
      await expectExit(0, saveWords(qemu, `${folder}/2`, bun));
      await assertEqualStates(`${folder}/1`, `${folder}/2`);
      await assertWhole(qemu, folder);
      device.forgetViolations();
    });
  },
};

/** The pid of the guard that a command of ours has started for this QEMU. */
function guardOf(qemu: Qemu): number {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    let words: string[];
    try {
      words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    } catch {
      continue;
    }
    if (words.includes("--guard") && words.includes(qemu.qmp)) return Number(pid);
  }
  throw new Error("There is no guard");
}

/** Where a command of ours is when it is killed. */
interface Moment {
  /** In words. */
  readonly what: string;
  /** The command. */
  readonly words: typeof saveWords;
  /** Whether it is there, by the device's state. */
  readonly reached: (state: number) => boolean;
}

const leftRunning = (state: number): boolean => state !== RUNNING;

const MOMENTS: readonly Moment[] = [
  { what: "a save has paused the machine", words: saveWords, reached: leftRunning },
  { what: "a save reads", words: saveWords, reached: (state) => state === STOP_COPY },
  { what: "a restore has paused the machine", words: restoreWords, reached: leftRunning },
  { what: "a restore reads", words: restoreWords, reached: (state) => state === STOP_COPY },
  { what: "a restore writes", words: restoreWords, reached: (state) => state === RESUMING },
];

/** What is killed: the command alone, or the guard with it. */
interface Kill {
  readonly signal: NodeJS.Signals;
  readonly guardToo: boolean;
  readonly runtime: Runtime;
}

/** A command is killed; QEMU and the device come together again, and go on. */
async function killAt(
  { words, reached }: Moment,
  { signal, guardToo, runtime }: Kill,
  qemu: Qemu,
  device: GuestDevice,
  folder: string,
): Promise<void> {
  const file = `${folder}/1`;
  const rollback = `${file}.rollback`;
  // Every record takes so many milliseconds: what is read or written takes seconds.
  device.set({ fault: "block:500" });
  const target = words === saveWords ? `${folder}/new` : file;
  const { kill, ended } = start(words(qemu, target, runtime));
  await until(() => Promise.resolve(reached(device.state)), "the device is there");
  if (guardToo) process.kill(guardOf(qemu), "SIGKILL");
  kill(signal);
  device.set({ fault: "" });
  const { code, stderr } = await ended;
  assert.equal(code, 128 + constants.signals[signal], stderr);
  if (guardToo) {
    assert.equal(await qemu.status(), "paused");
    const kept = existsSync(rollback) ? ["--rollback", rollback] : [];
    await expectExit(0, repairWords(qemu, bun, ...kept));
  }
  await until(() => Promise.resolve(device.state === RUNNING), "the device runs again");
  await until(() => Promise.resolve(!existsSync(rollback)), "the former state is forgotten");
  await assertWhole(qemu, folder);
}

/** A command is killed at each moment, one after the other, of the same QEMU. */
function killed(helps: string, kill: Kill): Case {
  return {
    name: `vmm: ${kill.signal} at each step of a save and a restore: ${helps} brings QEMU back`,
    long: true,
    lacks: () => lacks(TYPE),
    run: async (folder) => {
      await withQemu(256 << 10, folder, async (qemu, device) => {
        const first = `${folder}/1`;
        await expectExit(0, saveWords(qemu, first, bun));
        for (const moment of MOMENTS) {
          await killAt(moment, kill, qemu, device, folder).catch((error) => {
            throw new Error(`Killed while ${moment.what}: ${error.message}`);
          });
        }
        // The state has come through all of that.
        await expectExit(0, saveWords(qemu, `${folder}/2`, bun));
        await assertEqualStates(first, `${folder}/2`);
      });
    },
  };
}

/** The cases. What happens to processes is the same on all kernels. */
export const cases: readonly Case[] = [
  ...firstKernel([
    killed("the guard", { signal: "SIGKILL", guardToo: false, runtime: deno }),
    killed("--repair", { signal: "SIGKILL", guardToo: true, runtime: bun }),
    killed("the command itself", { signal: "SIGTERM", guardToo: false, runtime: bun }),
  ]),
  used,
  ...firstKernel([refused]),
  sample,
];
