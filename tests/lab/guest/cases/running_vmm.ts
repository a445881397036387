/**
 * Devices of a QEMU that runs in the guest, looked at from outside.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { type DeviceType, lacks, waitForState, withDevice, withPair } from "../device.ts";
import type { Case } from "../harness.ts";
import {
  bun,
  deno,
  expectExit,
  lastJson,
  type Runtime,
  start,
  underWith,
  vfiokit,
  wholeJson,
  type Window,
} from "../programs.ts";
import { Qemu } from "../vmm.ts";

/** States of v2 (enum vfio_device_mig_state). */
const RUNNING = 2;
/** See {@linkcode RUNNING}. */
const STOP_COPY = 3;

interface StateDocument {
  readonly device: string;
  readonly protocol: string | null;
  readonly state: string | null;
}

/** A device that QEMU drives is looked at, and QEMU notices nothing. */
function lookedAt(type: DeviceType, runtime: Runtime): Case {
  return {
    name: `vmm: pid: ${type}: a device of a running QEMU is looked at, and migrates afterwards`,
    lacks: () => lacks(type),
    run: (folder) =>
      withDevice(type, { size: 256 << 10 }, async ({ uuid }) => {
        const devices = [`/sys/bus/mdev/devices/${uuid}`];
        await using qemu = await Qemu.start({ suite: "trixie", devices, folder });
        const name = `pid:${qemu.pid}`;
        const probe = [...vfiokit(runtime), "probe", name, "--json"];
        const probed = wholeJson<{ protocol: string; migratable: boolean; notes: string[] }>(
          await expectExit(0, probe),
        );
        assert.deepEqual([probed.protocol, probed.migratable], ["v2", true]);
        assert.match(probed.notes.join(), /nothing was set\. Left out/);
        const state = async (...more: readonly string[]): Promise<StateDocument> =>
          wholeJson(await expectExit(0, [...vfiokit(runtime), "state", name, "--json", ...more]));
        assert.equal((await state("--trace", `${folder}/trace`)).state, "running");
        assert.match(readFileSync(`${folder}/trace`, "utf8"), /MIG_DEVICE_STATE/);
        await qemu.execute("stop");
        const stopped = await state();
        assert.equal(stopped.state, "stop");
        assert.match(stopped.device, /^pid:\d+\/\d+$/);
        await expectExit(2, [...vfiokit(runtime), "state", name, "running", "--quiet"]);
        await qemu.execute("cont");
        await qemu.migrateTo(`${folder}/guest`);
      }),
  };
}

/** The words that save a device of a QEMU. */
function saveWords(qemu: Qemu, file: string, runtime: Runtime): string[] {
  const words = ["save", `pid:${qemu.pid}`, "--qmp", qemu.qmp, "-o", file];
  return [...vfiokit(runtime), ...words, "--quiet"];
}

/** A machine that runs, with a device that migrates when QEMU wants it to. */
async function assertWhole(qemu: Qemu, folder: string): Promise<void> {
  await until(async () => await qemu.status() === "running", "the machine runs again");
  await qemu.migrateTo(`${folder}/afterwards`);
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; tries < 6000; tries++) {
    if (await holds()) return;
    await sleep(50);
  }
  throw new Error(`Cannot wait any longer until ${what}`);
}

/** A device is saved while QEMU runs, and its state restores elsewhere. */
function saved(type: DeviceType, runtime: Runtime): Case {
  return {
    name:
      `vmm: save: ${type}: a device of a running QEMU is saved, and QEMU migrates it afterwards`,
    lacks: () => lacks(type),
    run: (folder) =>
      withPair(type, { size: 512 << 10 }, async (first, second) => {
        const { crc } = await underWith(bun, first.uuid, ":");
        {
          await using qemu = await Qemu.start({
            suite: "trixie",
            devices: [`/sys/bus/mdev/devices/${first.uuid}`],
            folder,
          });
          await expectExit(0, saveWords(qemu, `${folder}/device`, runtime));
          assert.equal(first.state, RUNNING);
          await assertWhole(qemu, folder);
        }
        const restore = ["restore", second.uuid, `${folder}/device`, "--quiet", "--", "window"];
        const window = lastJson<Window>(await expectExit(0, [...vfiokit(runtime), ...restore]));
        assert.equal(window.crc, crc);
      }),
  };
}

/** The pid of the guard that a save of this QEMU has started. */
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

/** A save that a signal ends while the driver is slow in giving the state. */
function killed(signal: NodeJS.Signals, guardToo: boolean, runtime: Runtime): Case {
  const helps = signal !== "SIGKILL" ? "itself" : guardToo ? "--repair" : "the guard";
  return {
    name: `vmm: ${signal} in a save: ${helps} brings device and QEMU back`,
    lacks: () => lacks("v2-full"),
    run: (folder) =>
      withDevice("v2-full", { size: 1 << 20, chunk: 64 << 10 }, async (device) => {
        await using qemu = await Qemu.start({
          suite: "trixie",
          devices: [`/sys/bus/mdev/devices/${device.uuid}`],
          folder,
        });
        device.set({ fault: "block:300" });
        const { kill, ended } = start(saveWords(qemu, `${folder}/device`, runtime));
        await waitForState(device, STOP_COPY);
        if (guardToo) process.kill(guardOf(qemu), "SIGKILL");
        kill(signal);
        const { code } = await ended;
        assert.equal(code, 128 + constants.signals[signal]);
        device.set({ fault: "" });
        if (guardToo) {
          assert.deepEqual([device.state, await qemu.status()], [STOP_COPY, "paused"]);
          const words = ["state", `pid:${qemu.pid}`, "--repair", "--qmp", qemu.qmp, "--quiet"];
          await expectExit(0, [...vfiokit(runtime), ...words]);
        }
        await until(() => Promise.resolve(device.state === RUNNING), "the device runs again");
        await assertWhole(qemu, folder);
        assert.ok(!existsSync(`${folder}/device`));
      }),
  };
}

/** The cases. */
export const cases: readonly Case[] = [
  lookedAt("v2-full", deno),
  lookedAt("v2", bun),
  saved("v2-full", deno),
  saved("v2", bun),
  killed("SIGTERM", false, deno),
  killed("SIGKILL", false, deno),
  killed("SIGKILL", true, bun),
];
