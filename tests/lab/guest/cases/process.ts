/**
 * What it takes processes to show: signals, two at one device, files and pipes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync } from "node:fs";
import { type GuestDevice, type Settings, waitForState, withPair } from "../device.ts";
import { type Case, firstKernel } from "../harness.ts";
import { saveTo } from "../library.ts";
import { bun, deno, expectExit, quoted, type Runtime, start, vfiokit } from "../programs.ts";

const SMALL: Settings = { size: 1 << 20, chunk: 64 << 10 };

function saveWords(
  folder: string,
  { uuid }: GuestDevice,
  options: readonly string[] = [],
  runtime: Runtime = deno,
): string[] {
  return [...vfiokit(runtime), "save", uuid, "-o", `${folder}/checkpoint`, "--quiet", ...options];
}

/** A save that a signal ends while the device takes its time. */
function interrupted(
  signal: NodeJS.Signals,
  code: number,
  during: "pre-copy" | "stop-and-copy",
  runtime: Runtime,
): Case {
  const options = during === "pre-copy" ? ["--precopy"] : [];
  const name = runtime === deno ? "deno" : "bun";
  return {
    name: `signal: ${name}: ${signal} in ${during}: the device runs again, no file is left`,
    run: (folder) =>
      withPair("trapped", SMALL, async (device) => {
        device.set({ fault: "block:300" });
        const { kill, ended } = start(saveWords(folder, device, options, runtime));
        await waitForState(device, during === "pre-copy" ? 3 : 2);
        kill(signal);
        const { code: actual, stderr } = await ended;
        assert.equal(actual, code, stderr);
        assert.equal(device.state, 1);
        assert.deepEqual(readdirSync(folder), []);
      }),
  };
}

const signals: readonly Case[] = [
  interrupted("SIGINT", 130, "pre-copy", deno),
  interrupted("SIGTERM", 143, "stop-and-copy", bun),
  {
    name: "signal: bun: SIGKILL in stop-and-copy: no file that looks whole",
    run: (folder) =>
      withPair("trapped", SMALL, async (device) => {
        device.set({ fault: "block:300" });
        const { kill, ended } = start(saveWords(folder, device, [], bun));
        await waitForState(device, 2);
        kill("SIGKILL");
        await ended;
        assert.ok(!existsSync(`${folder}/checkpoint`));
      }),
  },
];

const others: readonly Case[] = [
  {
    name: "busy: a second save of a device that is open is exit 1",
    run: (folder) =>
      withPair("trapped", SMALL, async (device) => {
        const outer = [...vfiokit(), "with", device.uuid, "--quiet", "--", "sh", "-c"];
        const inner = `${
          quoted(saveWords(folder, device, ["--json"], bun))
        }; test $? = 1 && window`;
        const { stdout } = await expectExit(0, [...outer, inner]);
        assert.match(stdout, /"code": "busy"/);
        assert.deepEqual(readdirSync(folder), []);
      }),
  },
  {
    name: "save: -o /dev/null --force leaves /dev/null a device",
    run: () =>
      withPair("trapped", SMALL, async ({ uuid }) => {
        const words = ["save", uuid, "-o", "/dev/null", "--force", "--quiet"];
        await expectExit(0, [...vfiokit(bun), ...words]);
        assert.ok(statSync("/dev/null").isCharacterDevice());
      }),
  },
  {
    name: "identity: a checkpoint of another type of device is exit 4, the device untouched",
    run: (folder) =>
      withPair("trapped", SMALL, async (first) => {
        await saveTo(`${folder}/checkpoint`, first);
        await withPair("mapped", SMALL, async ({ uuid }) => {
          const words = ["restore", uuid, `${folder}/checkpoint`, "--quiet"];
          await expectExit(4, [...vfiokit(bun), ...words]);
        });
      }),
  },
  {
    name: "pipe: a checkpoint that is cut resets the device, exit 4",
    run: (folder) =>
      withPair("trapped", SMALL, async (first, second) => {
        await saveTo(`${folder}/checkpoint`, first);
        const words = quoted([...vfiokit(bun), "restore", second.uuid, "-", "--quiet"]);
        const script = `head -c 700000 ${folder}/checkpoint | ${words}`;
        const { stderr } = await expectExit(4, ["sh", "-c", script]);
        assert.match(stderr, /reset/);
        assert.equal(second.state, 1);
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = firstKernel([...signals, ...others]);
