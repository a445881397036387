/**
 * Signals while a v2 device is saved or restored: it runs again, whatever it
 * was in the midst of.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import {
  lacks,
  type Settings,
  type V2Type,
  waitForState,
  withDevice,
  withPair,
} from "../device.ts";
import { type Case, firstKernel } from "../harness.ts";
import { saveTo } from "../library.ts";
import { bun, deno, type Runtime, start, vfiokit } from "../programs.ts";

/** Each record takes a while: there is time for a signal. */
const SLOW: Settings = { size: 1 << 20, chunk: 64 << 10, fault: "block:300" };

const RUNNING = 2;
const STOP_COPY = 3;
const RESUMING = 4;
const PRE_COPY = 6;

interface Interrupted {
  readonly signal: NodeJS.Signals;
  readonly code: number;
  readonly type: V2Type;
  readonly during: string;
  readonly state: number;
  readonly options?: readonly string[];
  readonly runtime: Runtime;
}

function interruptedSave(
  { signal, code, type, during, state, options = [], runtime }: Interrupted,
): Case {
  const name = runtime === deno ? "deno" : "bun";
  return {
    name: `v2 signal: ${name}: ${signal} in ${during}: the device runs again, no file is left`,
    lacks: () => lacks(type),
    run: (folder) =>
      withDevice(type, SLOW, async (device) => {
        const words = ["save", device.uuid, "-o", `${folder}/checkpoint`, "--quiet", ...options];
        const { kill, ended } = start([...vfiokit(runtime), ...words]);
        await waitForState(device, state);
        kill(signal);
        const { code: actual, stderr } = await ended;
        assert.equal(actual, code, stderr);
        assert.equal(device.state, RUNNING);
        assert.deepEqual(readdirSync(folder), []);
      }),
  };
}

/** The cases. */
export const cases: readonly Case[] = firstKernel([
  interruptedSave({
    ...{ signal: "SIGINT", code: 130, runtime: deno },
    ...{ type: "v2-p2p", during: "stop-copy", state: STOP_COPY },
  }),
  interruptedSave({
    ...{ signal: "SIGTERM", code: 143, runtime: bun },
    ...{ type: "v2-full", during: "pre-copy", state: PRE_COPY, options: ["--precopy"] },
  }),
  {
    name: "v2 signal: bun: SIGINT in resuming: the device is reset, and runs",
    lacks: () => lacks("v2"),
    run: (folder) =>
      withPair("v2", { ...SLOW, fault: "" }, async (first, second) => {
        await saveTo(`${folder}/checkpoint`, first);
        second.set({ fault: "block:300" });
        const words = ["restore", second.uuid, `${folder}/checkpoint`, "--quiet"];
        const { kill, ended } = start([...vfiokit(bun), ...words]);
        await waitForState(second, RESUMING);
        kill("SIGINT");
        const { code, stderr } = await ended;
        assert.equal(code, 130, stderr);
        assert.equal(second.state, RUNNING);
      }),
  },
  {
    name: "v2 signal: bun: SIGKILL in stop-copy: no file that looks whole, the device is free",
    lacks: () => lacks("v2"),
    run: (folder) =>
      withDevice("v2", SLOW, async (device) => {
        const words = ["save", device.uuid, "-o", `${folder}/checkpoint`, "--quiet"];
        const { kill, ended } = start([...vfiokit(bun), ...words]);
        await waitForState(device, STOP_COPY);
        kill("SIGKILL");
        await ended;
        assert.ok(!existsSync(`${folder}/checkpoint`));
        // Nobody was left to bring it back: the driver says so.
        assert.ok(device.violations.includes("closed in STOP_COPY"));
        device.forgetViolations();
        device.set({ fault: "" });
        await saveTo(`${folder}/again`, device);
      }),
  },
]);
