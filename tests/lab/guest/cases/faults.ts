/**
 * What a device refuses, and what becomes of it: it runs again, no file looks
 * whole that is not, and the error tells.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { MigrationError, type OpenOptions } from "../../../../mod.ts";
import { type DeviceType, type Settings, withPair } from "../device.ts";
import { type Case, firstKernel } from "../harness.ts";
import { restoreFrom, saveTo, stepError } from "../library.ts";
import { bun, deno, expectExit, type Runtime, vfiokit, wholeJson } from "../programs.ts";

const SMALL: Settings = { size: 1 << 20, chunk: 64 << 10 };
const RUNNING = 1;
const ERROR = 6;

/** What a failure tells, and the device_state that the device is left in. */
interface Expected {
  readonly errno: string;
  readonly recovery: "none" | "running" | "reset" | "reopened" | "failed";
  readonly state: number;
}

async function fails(what: Promise<unknown>, { errno, recovery, state }: Expected): Promise<void> {
  const error = await what.then(() => null, stepError);
  assert.ok(error instanceof MigrationError, String(error));
  assert.deepEqual(
    [error.errno, error.recovery, error.deviceState],
    [errno, recovery, state === ERROR ? "error" : "running"],
    error.message,
  );
}

interface SaveFault extends Expected {
  readonly name: string;
  readonly fault: string;
  readonly type?: DeviceType;
  readonly precopy?: boolean;
  readonly options?: OpenOptions;
}

function failedSave(
  { name, fault, type = "trapped", precopy, options, ...expected }: SaveFault,
): Case {
  return {
    name: `fault: save: ${name}`,
    run: (folder) =>
      withPair(type, SMALL, async (device) => {
        device.set({ fault });
        const limits = precopy ? {} : undefined;
        await fails(saveTo(`${folder}/checkpoint`, device, limits, options), expected);
        assert.equal(device.state, expected.state);
        assert.deepEqual(readdirSync(folder), []);
      }),
  };
}

const saves: readonly Case[] = [
  failedSave({
    name: "a refused step to stop-and-copy: the device never stopped running",
    fault: "transition:1:EBUSY",
    ...{ errno: "EBUSY", recovery: "none", state: RUNNING },
  }),
  failedSave({
    name: "a refused step from pre-copy to stop-and-copy: back to running",
    fault: "transition:2:EIO",
    precopy: true,
    ...{ errno: "EIO", recovery: "running", state: RUNNING },
  }),
  failedSave({
    name: "data that cannot be read: back to running",
    fault: "read:3:EFAULT",
    ...{ errno: "EFAULT", recovery: "running", state: RUNNING },
  }),
  failedSave({
    name: "a data_offset that cannot be read: back to running",
    fault: "data-offset:2:EIO",
    type: "mapped",
    precopy: true,
    ...{ errno: "EIO", recovery: "running", state: RUNNING },
  }),
  failedSave({
    name: "the way back is refused: through stop to running",
    fault: "read:2:EIO,transition:2:EINVAL",
    ...{ errno: "EIO", recovery: "running", state: RUNNING },
  }),
  failedSave({
    name: "the ERROR state is reset",
    fault: "error-state:1",
    ...{ errno: "EIO", recovery: "reset", state: RUNNING },
  }),
  failedSave({
    name: "a reset that does nothing: closed and opened again",
    fault: "error-state:1,reset-ignored:1",
    ...{ errno: "EIO", recovery: "reopened", state: RUNNING },
  }),
  failedSave({
    name: "the ERROR state is left where that was asked for",
    fault: "error-state:1",
    options: { onError: "leave" },
    ...{ errno: "EIO", recovery: "none", state: ERROR },
  }),
  failedSave({
    name: "an ERROR state that cannot be reset",
    fault: "error-state:1,reset:1:EIO",
    ...{ errno: "EIO", recovery: "failed", state: ERROR },
  }),
];

/** What a save and a restore must take in their stride. */
function survived(name: string, type: DeviceType, saving: string, restoring: string): Case {
  return {
    name: `fault: ${name}`,
    run: (folder) =>
      withPair(type, SMALL, async (first, second) => {
        first.set({ fault: saving });
        const saved = await saveTo(`${folder}/checkpoint`, first);
        second.set({ fault: restoring });
        const restored = await restoreFrom(`${folder}/checkpoint`, second);
        assert.equal(restored.window.crc, saved.window.crc);
      }),
  };
}

const strides: readonly Case[] = [
  survived("short reads of data are read on", "trapped", "short-read:2,short-read:3", ""),
  survived("some mappings are refused", "partitioned", "mmap:1,mmap:2", "mmap:2"),
  survived("no mapping at all", "mapped", "mmap:1", "mmap:1"),
  survived("data_size 0 with data pending is asked again", "trapped", "data-size-zero:2", ""),
];

function failedRestore(name: string, settings: Settings, expected: Expected): Case {
  return {
    name: `fault: restore: ${name}`,
    run: (folder) =>
      withPair("trapped", SMALL, async (first, second) => {
        await saveTo(`${folder}/checkpoint`, first);
        second.set(settings);
        await fails(restoreFrom(`${folder}/checkpoint`, second), expected);
        assert.equal(second.state, expected.state);
      }),
  };
}

const reset = { recovery: "reset", state: RUNNING } as const;

const restores: readonly Case[] = [
  failedRestore("data that cannot be written: reset", { fault: "write:3:EFAULT" }, {
    errno: "EFAULT",
    ...reset,
  }),
  failedRestore("data that is not taken: reset", { fault: "data-size:2:EIO" }, {
    errno: "EIO",
    ...reset,
  }),
  failedRestore("a state that the device refuses: reset", { size: 2 << 20 }, {
    errno: "EINVAL",
    ...reset,
  }),
  failedRestore("a refused step to resuming: the device never stopped running", {
    fault: "transition:1:EBUSY",
  }, { errno: "EBUSY", recovery: "none", state: RUNNING }),
];

interface ExitCode {
  readonly name: string;
  readonly runtime: Runtime;
  readonly code: number;
  readonly fault: string;
  readonly options: readonly string[];
  readonly errno: string;
  readonly deviceState: string;
}

/** The same by the command line: JSON and exit code. */
function exitCode({ name, runtime, code, fault, options, ...expected }: ExitCode): Case {
  return {
    name: `fault: exit ${code}: ${name}`,
    run: (folder) =>
      withPair("trapped", SMALL, async (device) => {
        device.set({ fault });
        const words = ["save", device.uuid, "-o", `${folder}/checkpoint`, "--json", "--quiet"];
        const ended = await expectExit(code, [...vfiokit(runtime), ...words, ...options]);
        const { error } = wholeJson<{ error: { errno: string; deviceState: string } }>(ended);
        const { errno, deviceState } = error;
        assert.deepEqual({ errno, deviceState }, expected);
        assert.deepEqual(readdirSync(folder), []);
      }),
  };
}

const exitCodes: readonly Case[] = [
  exitCode({
    name: "the ERROR state, reset",
    ...{ runtime: deno, code: 1, fault: "error-state:1", options: ["--precopy"] },
    ...{ errno: "EIO", deviceState: "running" },
  }),
  exitCode({
    name: "the ERROR state, left",
    ...{ runtime: bun, code: 5, fault: "error-state:1", options: ["--on-error", "leave"] },
    ...{ errno: "EIO", deviceState: "error" },
  }),
];

/** The cases. */
export const cases: readonly Case[] = [
  ...saves,
  ...strides,
  ...restores,
  ...firstKernel(exitCodes),
];
