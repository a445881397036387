/**
 * What a device refuses, and what becomes of it: whatever happens, the device
 * runs again, no file looks whole that is not, and the exit code tells.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type DeviceType, type GuestDevice, type Settings, withPair } from "../device.ts";
import type { Case } from "../harness.ts";
import {
  type Ended,
  expectExit,
  lastJson,
  quoted,
  start,
  vfiokit,
  wholeJson,
  type Window,
} from "../programs.ts";

const FOLDER = "/tmp/faults";
const FILE = `${FOLDER}/checkpoint`;
const SMALL: Settings = { size: 1 << 20, chunk: 64 << 10 };

const RUNNING = 1;
const ERROR = 6;

interface Failure {
  readonly state: string;
  readonly error: {
    readonly code: string;
    readonly errno: string | null;
    readonly deviceState: string | null;
  };
}

async function emptyFolder(): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true });
  await expectExit(0, ["mkdir", FOLDER]);
}

function saveWords({ uuid }: GuestDevice, ...options: string[]): string[] {
  return [...vfiokit(), "save", uuid, "-o", FILE, "--quiet", ...options];
}

function failure(ended: Ended, errno: string | null, deviceState: string): void {
  const { error } = wholeJson<Failure>(ended);
  assert.deepEqual([error.errno, error.deviceState], [errno, deviceState], ended.stdout);
}

/** A save that must fail, with nothing left behind. */
function failedSave(
  name: string,
  fault: string,
  expected: { code: number; errno: string | null; state: number; word: string },
  options: readonly string[] = [],
  type: DeviceType = "trapped",
): Case {
  return {
    name: `fault: ${name}`,
    run: () =>
      withPair(type, SMALL, async (device) => {
        await emptyFolder();
        device.set({ fault });
        const words = saveWords(device, "--json", ...options);
        failure(await expectExit(expected.code, words), expected.errno, expected.word);
        assert.equal(device.state, expected.state);
        assert.deepEqual(readdirSync(FOLDER), []);
      }),
  };
}

const running = { code: 1, state: RUNNING, word: "running" };

const saves: readonly Case[] = [
  failedSave("a refused step to stop-and-copy leaves the device running", "transition:1:EBUSY", {
    ...running,
    errno: "EBUSY",
  }),
  failedSave(
    "a refused step from pre-copy to stop-and-copy goes back to running",
    "transition:2:EIO",
    { ...running, errno: "EIO" },
    ["--precopy"],
  ),
  failedSave("data that cannot be read goes back to running", "read:3:EFAULT", {
    ...running,
    errno: "EFAULT",
  }),
  failedSave(
    "a data_offset that cannot be read goes back to running",
    "data-offset:2:EIO",
    { ...running, errno: "EIO" },
    ["--precopy"],
    "mapped",
  ),
  failedSave("the way back refused: through stop to running", "read:2:EIO,transition:2:EINVAL", {
    ...running,
    errno: "EIO",
  }),
  failedSave("the ERROR state is reset", "error-state:1", { ...running, errno: "EIO" }),
  failedSave("the ERROR state stays with --on-error leave, exit 5", "error-state:1", {
    code: 5,
    errno: "EIO",
    state: ERROR,
    word: "error",
  }, ["--on-error", "leave"]),
  failedSave("an ERROR state that cannot be reset is exit 5", "error-state:1,reset:1:EIO", {
    code: 5,
    errno: "EIO",
    state: ERROR,
    word: "error",
  }),
];

/** What a save must take in its stride. */
function survived(name: string, type: DeviceType, fault: string): Case {
  return {
    name: `fault: ${name}`,
    run: () =>
      withPair(type, SMALL, async (first, second) => {
        await emptyFolder();
        first.set({ fault });
        const saved = lastJson<Window>(await expectExit(0, [...saveWords(first), "--", "window"]));
        second.set({ fault: type === "trapped" ? "" : fault });
        const words = [...vfiokit(), "restore", second.uuid, FILE, "--quiet", "--", "window"];
        assert.equal(lastJson<Window>(await expectExit(0, words)).crc, saved.crc);
      }),
  };
}

const strides: readonly Case[] = [
  survived("short reads of data are read on", "trapped", "short-read:2,short-read:3"),
  survived(
    "mappings that are refused are read and written instead",
    "partitioned",
    "mmap:1,mmap:2",
  ),
  survived("no mapping at all", "mapped", "mmap:1"),
  survived("data_size 0 with data pending is asked again", "trapped", "data-size-zero:2"),
];

/** A restore that must fail; the device is reset and runs. */
function failedRestore(name: string, settings: Settings, errno: string, code: number): Case {
  return {
    name: `fault: ${name}`,
    run: () =>
      withPair("trapped", SMALL, async (first, second) => {
        await emptyFolder();
        await expectExit(0, saveWords(first));
        second.set(settings);
        const words = [...vfiokit(), "restore", second.uuid, FILE, "--json", "--quiet"];
        failure(await expectExit(code, words), errno, "running");
        assert.equal(second.state, RUNNING);
      }),
  };
}

const restores: readonly Case[] = [
  failedRestore(
    "data that cannot be written resets the device",
    { fault: "write:3:EFAULT" },
    "EFAULT",
    1,
  ),
  failedRestore("data that is not taken resets the device", { fault: "data-size:2:EIO" }, "EIO", 1),
  failedRestore("a state that the device refuses resets it", { size: 2 << 20 }, "EINVAL", 1),
  failedRestore(
    "a refused step to resuming leaves the device running",
    { fault: "transition:1:EBUSY" },
    "EBUSY",
    1,
  ),
];

async function waitFor(what: string, holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (holds()) return;
    await sleep(50);
  }
  throw new Error(`Cannot wait any longer for ${what}`);
}

/** A save that a signal ends while the device takes its time. */
function interrupted(signal: "SIGINT" | "SIGTERM", code: number, options: readonly string[]): Case {
  const during = options.includes("--precopy") ? "pre-copy" : "stop-and-copy";
  const bits = during === "pre-copy" ? 3 : 2;
  return {
    name: `signal: ${signal} in ${during}: the device runs again, no file is left`,
    run: () =>
      withPair("trapped", SMALL, async (device) => {
        await emptyFolder();
        device.set({ fault: "block:300" });
        const { child, ended } = start(saveWords(device, ...options));
        await waitFor(during, () => device.open && device.state === bits);
        child.kill(signal);
        const { code: actual, stderr } = await ended;
        assert.equal(actual, code, stderr);
        assert.equal(device.state, RUNNING);
        assert.deepEqual(readdirSync(FOLDER), []);
      }),
  };
}

const others: readonly Case[] = [
  interrupted("SIGINT", 130, ["--precopy"]),
  interrupted("SIGTERM", 143, []),
  {
    name: "signal: SIGKILL in the middle of a save leaves no file that looks whole",
    run: () =>
      withPair("trapped", SMALL, async (device) => {
        await emptyFolder();
        device.set({ fault: "block:300" });
        const { child, ended } = start(saveWords(device));
        await waitFor("stop-and-copy", () => device.open && device.state === 2);
        child.kill("SIGKILL");
        await ended;
        assert.ok(!existsSync(FILE));
      }),
  },
  {
    name: "busy: a second save of a device that is open is exit 1",
    run: () =>
      withPair("trapped", SMALL, async (device) => {
        await emptyFolder();
        const outer = [...vfiokit(), "with", device.uuid, "--quiet", "--", "sh", "-c"];
        const inner = `${quoted(saveWords(device, "--json"))}; test $? = 1 && window`;
        const { stdout } = await expectExit(0, [...outer, inner]);
        assert.match(stdout, /"code": "busy"/);
        assert.deepEqual(readdirSync(FOLDER), []);
      }),
  },
  {
    name: "identity: a checkpoint of another type of device is exit 4, the device untouched",
    run: () =>
      withPair("trapped", SMALL, async (first) => {
        await emptyFolder();
        await expectExit(0, saveWords(first));
        await withPair("mapped", SMALL, async ({ uuid }) => {
          await expectExit(4, [...vfiokit(), "restore", uuid, FILE, "--quiet"]);
        });
      }),
  },
  {
    name: "pipe: a checkpoint that is cut resets the device, exit 4",
    run: () =>
      withPair("trapped", SMALL, async (first, second) => {
        await emptyFolder();
        await expectExit(0, saveWords(first));
        const words = quoted([...vfiokit(), "restore", second.uuid, "-", "--quiet"]);
        await expectExit(4, ["sh", "-c", `head -c 700000 ${FILE} | ${words}`]);
        assert.equal(second.state, RUNNING);
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = [...saves, ...strides, ...restores, ...others];
