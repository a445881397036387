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
import { type DeviceType, type GuestDevice, lacks, waitForState, withDevice } from "../device.ts";
import type { Case } from "../harness.ts";
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

interface StateDocument {
  readonly device: string;
  readonly protocol: string | null;
  readonly state: string | null;
}

/** Lends a device that a QEMU has open. */
async function withQemu(
  type: DeviceType,
  size: number,
  folder: string,
  use: (qemu: Qemu, device: GuestDevice) => Promise<void>,
): Promise<void> {
  await withDevice(type, { size, chunk: 64 << 10 }, async (device) => {
    const devices = [`/sys/bus/mdev/devices/${device.uuid}`];
    await using qemu = await Qemu.start({ suite: "trixie", devices, folder });
    await use(qemu, device);
  });
}

/** The words that save a device of a QEMU. */
function saveWords(qemu: Qemu, file: string, runtime: Runtime): string[] {
  const words = ["save", `pid:${qemu.pid}`, "--qmp", qemu.qmp, "-o", file];
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
async function assertWhole(qemu: Qemu, device: GuestDevice, folder: string): Promise<void> {
  await until(async () => await qemu.status() === "running", "the machine runs again");
  assert.equal(device.state, RUNNING);
  await qemu.migrateTo(`${folder}/afterwards`);
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; tries < 6000; tries++) {
    if (await holds()) return;
    await sleep(50);
  }
  throw new Error(`Cannot wait any longer until ${what}`);
}

/** A device that QEMU drives is looked at, saved, and gets the same state back. */
function used(type: DeviceType, runtime: Runtime, other: Runtime): Case {
  return {
    name: `vmm: ${type}: a device of a running QEMU: state, save, restore, and QEMU migrates it`,
    lacks: () => lacks(type),
    run: async (folder) => {
      await withQemu(type, 512 << 10, folder, async (qemu, device) => {
        const name = `pid:${qemu.pid}`;
        const state = async (...more: readonly string[]): Promise<StateDocument> =>
          wholeJson(await expectExit(0, [...vfiokit(other), "state", name, "--json", ...more]));
        assert.equal((await state("--trace", `${folder}/trace`)).state, "running");
        assert.match(readFileSync(`${folder}/trace`, "utf8"), /MIG_DEVICE_STATE/);
        await expectExit(0, saveWords(qemu, `${folder}/1`, runtime));
        assert.deepEqual([device.state, await qemu.status()], [RUNNING, "running"]);
        await expectExit(0, restoreWords(qemu, `${folder}/1`, runtime));
        assert.deepEqual([device.state, await qemu.status()], [RUNNING, "running"]);
        // While the machine is paused it stays paused.
        await qemu.execute("stop");
        const stopped = await state();
        assert.equal(stopped.state, "stop");
        assert.match(stopped.device, /^pid:\d+\/\d+$/);
        await expectExit(0, saveWords(qemu, `${folder}/2`, other));
        assert.deepEqual([device.state, await qemu.status()], [STOP, "paused"]);
        await qemu.execute("cont");
        assert.ok(!existsSync(`${folder}/1.rollback`));
        const [first, second] = [await contentOf(`${folder}/1`), await contentOf(`${folder}/2`)];
        assert.deepEqual(second.state, first.state);
        await assertWhole(qemu, device, folder);
      });
    },
  };
}

/** A state that the driver refuses is not left in the device. */
function refused(runtime: Runtime): Case {
  const type = "v2-full";
  return {
    name: "vmm: restore: a state that the driver refuses: a reset, and the former state",
    lacks: () => lacks(type),
    run: async (folder) => {
      await withQemu(type, 128 << 10, folder, async (qemu, device) => {
        await expectExit(0, saveWords(qemu, `${folder}/1`, runtime));
        const { identity, state } = await contentOf(`${folder}/1`);
        const file = `${folder}/damaged`;
        await forge(file, { identity, state: state.slice(0, -1) });
        const ended = await expectExit(4, restoreWords(qemu, file, runtime));
        assert.match(ended.stderr, /the device has its former state again/);
        assert.ok(!existsSync(`${file}.rollback`));
        await expectExit(0, saveWords(qemu, `${folder}/2`, runtime));
        assert.deepEqual((await contentOf(`${folder}/2`)).state, state);
        await assertWhole(qemu, device, folder);
        device.forgetViolations();
      });
    },
  };
}

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
  readonly command: "save" | "restore";
  /** The state that the device is in then. */
  readonly state: number;
}

const READING: Moment = {
  ...{ what: "a save reads the state", command: "save" },
  state: STOP_COPY,
};

const KEEPING: Moment = {
  ...{ what: "a restore saves the former state", command: "restore" },
  state: STOP_COPY,
};

const LOADING: Moment = {
  ...{ what: "a restore writes the state", command: "restore" },
  state: RESUMING,
};

/** A command is killed, and the guard too or not; QEMU and the device come together again. */
function killed(
  { what, command, state }: Moment,
  signal: NodeJS.Signals,
  guardToo: boolean,
  runtime: Runtime,
): Case {
  const helps = signal !== "SIGKILL" ? "it" : guardToo ? "--repair" : "the guard";
  return {
    name: `vmm: ${signal} while ${what}: ${helps} brings device and QEMU back`,
    lacks: () => lacks("v2-full"),
    run: async (folder) => {
      await withQemu("v2-full", 512 << 10, folder, async (qemu, device) => {
        const file = `${folder}/device`;
        if (command === "restore") await expectExit(0, saveWords(qemu, file, bun));
        // Every record takes so many milliseconds: whatever is read or written takes seconds.
        device.set({ fault: "block:1000" });
        const words = command === "save" ? saveWords : restoreWords;
        const { kill, ended } = start(words(qemu, file, runtime));
        await waitForState(device, state);
        if (guardToo) process.kill(guardOf(qemu), "SIGKILL");
        kill(signal);
        device.set({ fault: "" });
        const { code } = await ended;
        assert.equal(code, 128 + constants.signals[signal]);
        if (guardToo) {
          assert.equal(await qemu.status(), "paused");
          const kept = existsSync(`${file}.rollback`) ? ["--rollback", `${file}.rollback`] : [];
          await expectExit(0, repairWords(qemu, bun, ...kept));
        }
        await until(() => Promise.resolve(device.state === RUNNING), "the device runs again");
        await assertWhole(qemu, device, folder);
        assert.ok(!existsSync(`${file}.rollback`));
      });
    },
  };
}

/** The cases. */
export const cases: readonly Case[] = [
  used("v2-full", deno, bun),
  used("v2", bun, deno),
  refused(bun),
  killed(READING, "SIGTERM", false, deno),
  killed(READING, "SIGKILL", false, deno),
  killed(READING, "SIGKILL", true, bun),
  killed(KEEPING, "SIGKILL", false, bun),
  killed(LOADING, "SIGKILL", false, deno),
  killed(LOADING, "SIGKILL", true, bun),
];
