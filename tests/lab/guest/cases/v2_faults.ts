/**
 * What a v2 device refuses, and what becomes of it: the state that the error
 * names is the one that the driver has.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { MigrationError, type OpenOptions, type PrecopyOptions } from "../../../../mod.ts";
import { lacks, type Settings, type V2Type, withPair } from "../device.ts";
import type { Case } from "../harness.ts";
import { restoreFrom, saveTo, stepError } from "../library.ts";
import { bun, expectExit, vfiokit, wholeJson } from "../programs.ts";

const SMALL: Settings = { size: 1 << 20, chunk: 64 << 10 };

/** VFIO_DEVICE_STATE_*, by the toolkit's name. */
const NUMBERS = { "error": 0, "stop": 1, "running": 2, "stop-copy": 3, "resuming": 4 } as const;

/** What a failure tells; the driver must be in that state. */
interface Expected {
  readonly errno: string | undefined;
  readonly recovery: "none" | "running" | "reset" | "reopened" | "failed";
  readonly state: keyof typeof NUMBERS;
}

async function fails(what: Promise<unknown>, expected: Expected): Promise<void> {
  const error = await what.then(() => null, stepError);
  assert.ok(error instanceof MigrationError, String(error));
  const { errno, recovery, deviceState } = error;
  assert.deepEqual({ errno, recovery, state: deviceState }, expected, error.message);
}

interface SaveFault extends Expected {
  readonly name: string;
  readonly fault: string;
  readonly type?: V2Type;
  readonly precopy?: PrecopyOptions | undefined;
  readonly options?: OpenOptions;
  /** What the driver rightly counts where it is left in its state. */
  readonly counted?: readonly string[];
}

function failedSave(
  { name, fault, type = "v2", precopy, options, counted = [], ...expected }: SaveFault,
): Case {
  return {
    name: `v2 fault: save: ${type}: ${name}`,
    lacks: () => lacks(type),
    run: (folder) =>
      withPair(type, SMALL, async (device) => {
        device.set({ fault });
        await fails(saveTo(`${folder}/checkpoint`, device, precopy, options), expected);
        assert.equal(device.state, NUMBERS[expected.state]);
        assert.deepEqual(readdirSync(folder), []);
        assert.deepEqual(device.violations, counted);
        device.forgetViolations();
      }),
  };
}

const back = { recovery: "running", state: "running" } as const;
const kept = { recovery: "none", state: "running" } as const;
const reset = { recovery: "reset", state: "running" } as const;

/** The arcs of a save by type, and whether it has pre-copy. */
const ARCS: readonly (readonly [type: V2Type, precopy: boolean, arcs: readonly string[]])[] = [
  ["v2", false, ["STOP", "STOP_COPY", "STOP again"]],
  ["v2-p2p", false, ["RUNNING_P2P", "STOP", "STOP_COPY", "STOP again"]],
  ["v2-precopy", true, ["PRE_COPY", "STOP_COPY", "STOP"]],
  ["v2-full", true, ["PRE_COPY", "PRE_COPY_P2P", "STOP_COPY", "STOP"]],
];

/** Each arc of a save, refused with each errno, and once more on the way back. */
const arcs: readonly Case[] = ARCS.flatMap(([type, precopy, names]) =>
  names.flatMap((name, arc) => {
    const common = { type, precopy: precopy ? {} : undefined };
    const once = ["EIO", "ENODEV", "EBUSY"].map((errno) =>
      failedSave({
        ...common,
        name: `the arc to ${name} refused with ${errno}`,
        fault: `transition:${arc + 1}:${errno}`,
        errno,
        ...arc === 0 ? kept : back,
      })
    );
    // Where the first is refused, the device has not left RUNNING: there is no way back.
    if (arc === 0) return once;
    const twice = failedSave({
      ...common,
      name: `the arc to ${name} refused, and the way back, too`,
      fault: `transition:${arc + 1}:EIO,transition:${arc + 2}:EBUSY`,
      errno: "EIO",
      ...reset,
    });
    return [...once, twice];
  })
);

const saves: readonly Case[] = [
  failedSave({
    name: "the step back to stop is refused: by a reset",
    fault: "read:2:EIO,transition:3:EINVAL",
    ...{ errno: "EIO", ...reset },
  }),
  failedSave({
    name: "data that cannot be read: back to running",
    fault: "read:3:EFAULT",
    ...{ errno: "EFAULT", ...back },
  }),
  failedSave({
    name: "an interrupted read is not made again: back to running",
    fault: "read:3:EINTR",
    ...{ errno: "EINTR", ...back },
  }),
  failedSave({
    name: "the device is gone for the data fd: back to running",
    type: "v2-p2p",
    fault: "read:2:ENODEV",
    ...{ errno: "ENODEV", ...back },
  }),
  failedSave({
    name: "the ERROR state is reset",
    type: "v2-p2p",
    fault: "error-state:2",
    ...{ errno: "EIO", ...reset },
  }),
  failedSave({
    name: "a reset that does nothing: closed and opened again",
    type: "v2-p2p",
    fault: "error-state:2,reset-ignored:1",
    ...{ errno: "EIO", recovery: "reopened", state: "running" },
    counted: ["closed in ERROR"],
  }),
  failedSave({
    name: "the ERROR state after a step that was taken is reset",
    fault: "late-error:2",
    ...{ errno: undefined, ...reset },
  }),
  failedSave({
    name: "the ERROR state is left where that was asked for",
    fault: "error-state:2",
    options: { onError: "leave" },
    ...{ errno: "EIO", recovery: "none", state: "error" },
    counted: ["closed in ERROR"],
  }),
  failedSave({
    name: "an ERROR state that cannot be reset",
    fault: "error-state:1,reset:1:EIO",
    ...{ errno: "EIO", recovery: "failed", state: "error" },
    counted: ["closed in ERROR"],
  }),
];

function failedRestore(name: string, fault: string, expected: Expected, counted?: string[]): Case {
  return {
    name: `v2 fault: restore: ${name}`,
    lacks: () => lacks("v2"),
    run: (folder) =>
      withPair("v2", SMALL, async (first, second) => {
        await saveTo(`${folder}/checkpoint`, first);
        second.set({ fault });
        await fails(restoreFrom(`${folder}/checkpoint`, second), expected);
        assert.equal(second.state, NUMBERS[expected.state]);
        assert.deepEqual(second.violations, counted ?? []);
        second.forgetViolations();
      }),
  };
}

const restores: readonly Case[] = [
  ...["EFAULT", "EINVAL", "ENOMEM", "EOPNOTSUPP", "ENODEV", "EIO"].map((errno) =>
    failedRestore(`data refused with ${errno}: reset`, `write:2:${errno}`, { errno, ...reset })
  ),
  failedRestore("an interrupted write is not made again: reset", "write:2:EINTR", {
    errno: "EINTR",
    ...reset,
  }),
  failedRestore(
    "a reset that is not ready twice is tried again",
    "write:2:EINVAL,reset:1:EAGAIN,reset:2:EAGAIN",
    { errno: "EINVAL", ...reset },
  ),
  failedRestore("the first arc refused: it never stopped running", "transition:1:EBUSY", {
    errno: "EBUSY",
    ...kept,
  }),
  failedRestore("the arc to resuming refused: back to running", "transition:2:EBUSY", {
    errno: "EBUSY",
    ...back,
  }),
  failedRestore("the arc out of resuming refused: reset", "transition:3:EIO", {
    errno: "EIO",
    ...reset,
  }),
  failedRestore(
    "the arc to running refused: reset, what was loaded must not run",
    "transition:4:EIO",
    {
      errno: "EIO",
      ...reset,
    },
  ),
  failedRestore(
    "data refused, and no reset",
    "write:2:EINVAL,reset:1:EIO",
    { errno: "EINVAL", recovery: "failed", state: "resuming" },
    ["closed in RESUMING"],
  ),
];

const exitCodes: readonly Case[] = [
  {
    name: "v2 fault: exit 5: an ERROR state that cannot be reset",
    lacks: () => lacks("v2"),
    run: (folder) =>
      withPair("v2", SMALL, async (device) => {
        device.set({ fault: "error-state:1,reset:1:EIO" });
        const words = ["save", device.uuid, "-o", `${folder}/checkpoint`, "--json", "--quiet"];
        const ended = await expectExit(5, [...vfiokit(bun), ...words]);
        const { error } = wholeJson<{ error: { errno: string; deviceState: string } }>(ended);
        assert.deepEqual([error.errno, error.deviceState], ["EIO", "error"]);
        assert.deepEqual(readdirSync(folder), []);
        assert.deepEqual(device.violations, ["closed in ERROR"]);
        device.forgetViolations();
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = [...arcs, ...saves, ...restores, ...exitCodes];
