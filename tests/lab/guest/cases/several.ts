/**
 * Several devices at once: one checkpoint of all, or of none.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import {
  createCheckpointFile,
  openCheckpointFile,
  openDevices,
  restore,
  save,
  TransferError,
  type TransferReport,
} from "../../../../mod.ts";
import { type DeviceType, lacks, type Settings, withDevices } from "../device.ts";
import { withSiblings } from "../edu.ts";
import { type Case, minutes } from "../harness.ts";
import { readWindow } from "../library.ts";
import {
  bun,
  deno,
  expectExit,
  reported,
  type Runtime,
  vfiokit,
  wholeJson,
  type Window,
} from "../programs.ts";
import { type Asked, held, watched } from "../watched.ts";

const SMALL: Settings = { size: 1 << 20, chunk: 64 << 10 };

/** Numbers of v2's states. */
const STOP = 1;
const RUNNING = 2;
const RUNNING_P2P = 5;
/** Vendor and device id of edu, as in its configuration space. */
const EDU_IDS = [0x34, 0x12, 0xe8, 0x11];
/** v1's running. */
const V1_RUNNING = 1;

function lackOf(types: readonly DeviceType[]): string | null {
  return types.map(lacks).find((why) => why !== null) ?? null;
}

/** Saves or restores two devices by the command line; the windows are read before they are closed. */
async function together(
  runtime: Runtime,
  folder: string,
  words: readonly string[],
): Promise<{ readonly report: TransferReport; readonly windows: readonly Window[] }> {
  // The last "device" in the list; how many fds come before it depends on the kernel.
  const second = `$(echo "$VFIOKIT_DEVICES" | sed 's/.*"device":\\([0-9]*\\).*/\\1/')`;
  const look = ["--", "sh", "-c", `window 3 > ${folder}/0; window ${second} > ${folder}/1`];
  const ended = await expectExit(0, [...vfiokit(runtime), ...words, "--json", "--quiet", ...look]);
  const windows = [0, 1].map((each): Window =>
    JSON.parse(readFileSync(`${folder}/${each}`, "utf8"))
  );
  return { report: wholeJson<TransferReport>(reported(ended)), windows };
}

/** Saved and restored by the command line. */
function byCommand(name: string, types: readonly [DeviceType, DeviceType], runtime: Runtime): Case {
  return {
    name: `several: in ${name}: ${types.join(" and ")} saved and restored together: equal`,
    lacks: () => lackOf(types),
    run: (folder) =>
      withDevices([...types, ...types], SMALL, async ([a, b, c, d]) => {
        const file = `${folder}/checkpoint`;
        const save = ["save", a!.uuid, b!.uuid, "-o", file, "--leave", "stop", "--precopy"];
        const saved = await together(runtime, folder, save);
        const restored = await together(runtime, folder, ["restore", c!.uuid, d!.uuid, file]);
        assert.deepEqual(restored.windows.map(({ differs }) => differs), [true, true]);
        assert.deepEqual(
          restored.windows.map(({ crc }) => crc),
          saved.windows.map(({ crc }) => crc),
        );
        assert.deepEqual(saved.report.devices.map(({ state }) => state), ["stop", "stop"]);
        assert.deepEqual(
          restored.report.devices.map(({ bytes, state }) => [bytes, state]),
          saved.report.devices.map(({ bytes }) => [bytes, "running"]),
        );
      }),
  };
}

/** Two devices with P2P, seen from their driver at each step. */
function inP2p(types: readonly [DeviceType, DeviceType], precopy: boolean): Case {
  const how = precopy ? "with" : "without";
  return {
    name: `several: library: ${types.join(" and ")}, ${how} pre-copy: both in P2P, says the ` +
      "driver, before one stops, and before one runs",
    lacks: () => lackOf(types),
    run: (folder) =>
      withDevices([...types, ...types], SMALL, async (guests) => {
        const asked: Asked[] = [];
        const file = `${folder}/checkpoint`;
        const crcs: number[][] = [];
        {
          await using devices = await watched(guests.slice(0, 2), asked);
          await using sink = await createCheckpointFile(file);
          const report = await save(devices, sink, { ...(precopy && { precopy: {} }) });
          assert.deepEqual(report.devices.map(({ p2p }) => p2p), [true, true]);
          crcs.push(await Promise.all(devices.map(async (each) => (await readWindow(each)).crc)));
        }
        const stops = asked.findIndex(({ state }) => state === "STOP" || state === "STOP_COPY");
        const stopped = JSON.stringify(asked[stops]);
        assert.ok(asked[stops]!.now.every(held), stopped);
        const runs = asked.findIndex(({ state }, at) => at > stops && state === "RUNNING");
        assert.deepEqual(asked[runs]!.now, [RUNNING_P2P, RUNNING_P2P]);
        asked.length = 0;
        {
          await using devices = await watched(guests.slice(2), asked);
          await using source = await openCheckpointFile(file);
          await restore(devices, source);
          crcs.push(await Promise.all(devices.map(async (each) => (await readWindow(each)).crc)));
        }
        assert.deepEqual(crcs[1], crcs[0]);
        assert.ok(asked.find(({ state }) => state === "STOP")!.now.every(held));
        const judged = asked.findLastIndex(({ state }) => state === "STOP");
        const back = asked.findIndex(({ state }, at) => at > judged && state === "RUNNING_P2P");
        assert.deepEqual(asked[back]!.now, [STOP, STOP]);
        const run = asked.findIndex(({ state }, at) => at > judged && state === "RUNNING");
        assert.deepEqual(asked[run]!.now, [RUNNING_P2P, RUNNING_P2P]);
      }),
  };
}

/** One of two fails, in whatever way; `running` is the number of that state. */
function fails(what: string, types: readonly [DeviceType, DeviceType], fault: string): Case {
  const running = types.map((type) => type.startsWith("v2") ? RUNNING : V1_RUNNING);
  return {
    name: `several: ${types.join(" and ")}, of which the second ${what}: none is saved, both run`,
    lacks: () => lackOf(types),
    run: (folder) =>
      withDevices(types, SMALL, async (guests) => {
        guests[1]!.set({ fault });
        const file = `${folder}/checkpoint`;
        await using devices = await watched(guests, []);
        await using sink = await createCheckpointFile(file);
        await assert.rejects(save(devices, sink), (error: TransferError) => {
          assert.ok(error instanceof TransferError, String(error));
          assert.deepEqual(error.failed.map(({ name }) => name), [guests[1]!.uuid]);
          assert.deepEqual(error.devices.map(({ state }) => state), ["running", "running"]);
          return true;
        });
        assert.deepEqual(guests.map(({ state }) => state), running);
        assert.equal(existsSync(file), false);
      }),
  };
}

/** One of two does not take its state: the other one's is not kept either. */
function refuses(types: readonly [DeviceType, DeviceType], fault: string): Case {
  return {
    name: `several: ${types.join(" and ")}, of which the second does not take its state: both ` +
      "are reset, with the state that they had",
    lacks: () => lackOf(types),
    run: (folder) =>
      withDevices([...types, ...types], SMALL, async (guests) => {
        const file = `${folder}/checkpoint`;
        {
          await using devices = await watched(guests.slice(0, 2), []);
          await using sink = await createCheckpointFile(file);
          await save(devices, sink);
        }
        guests[3]!.set({ fault });
        await using devices = await watched(guests.slice(2), []);
        const windows = (): Promise<Window[]> => Promise.all(devices.map(readWindow));
        const before = await windows();
        await using source = await openCheckpointFile(file);
        await assert.rejects(restore(devices, source), (error: TransferError) => {
          assert.ok(error instanceof TransferError, String(error));
          assert.deepEqual(error.failed.map(({ name }) => name), [guests[3]!.uuid]);
          assert.deepEqual(error.devices.map(({ recovery }) => recovery), ["reset", "reset"]);
          return true;
        });
        assert.deepEqual((await windows()).map(({ crc }) => crc), before.map(({ crc }) => crc));
        assert.deepEqual((await windows()).map(({ differs }) => differs), [false, false]);
      }),
  };
}

/** Threads of their own, which a group and its container are shared by. */
const siblings: Case = {
  name: "several: two functions of one group, each on its own thread: opened together, twice",
  run: (folder) =>
    withSiblings(async (...addresses) => {
      // Had the first time left anything open, the second would be refused.
      for (const via of ["group", "group", "auto"] as const) {
        await using devices = await openDevices(addresses, { via });
        const ids = await Promise.all(devices.map((device) => device.readRegion(7, 0, 4)));
        assert.deepEqual(ids.map((bytes) => [...bytes]), [EDU_IDS, EDU_IDS]);
        await using sink = await createCheckpointFile(`${folder}/checkpoint`);
        await assert.rejects(save(devices, sink), (error: TransferError) => {
          assert.equal((error.cause as Error).name, "UnsupportedError");
          assert.deepEqual(error.devices.map(({ state }) => state), [null, null]);
          return true;
        });
      }
    }),
};

/** All of them. */
export const cases: readonly Case[] = [
  siblings,
  byCommand("Deno", ["trapped", "partitioned"], deno),
  ...minutes([byCommand("Bun", ["mapped", "trapped"], bun)]),
  byCommand("Deno", ["v2-full", "mapped"], deno),
  inP2p(["v2-p2p", "v2-p2p"], false),
  inP2p(["v2-full", "v2-full"], true),
  inP2p(["v2-p2p", "v2-full"], true),
  fails("gives no data", ["partitioned", "trapped"], "read:2:EIO"),
  fails("gives no data", ["v2-p2p", "v2-p2p"], "read:2:EIO"),
  fails("does not stop", ["v2-full", "v2-p2p"], "transition:2:EIO"),
  fails("ends in ERROR", ["trapped", "v2-p2p"], "error-state:2"),
  refuses(["mapped", "partitioned"], "write:2:EIO"),
  refuses(["v2-p2p", "v2-p2p"], "transition:4:EINVAL"),
];
