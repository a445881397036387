/**
 * A v2 save of several processes: the data fd goes from one script of a phase
 * to the next, on the kernel's own sample device.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { contentOf } from "../forge.ts";
import { type Case, minutes } from "../harness.ts";
import { lacksMtty, Mtty, type Port } from "../mtty.ts";
import {
  bun,
  deno,
  type Ended,
  expectExit,
  phase,
  quoted,
  run,
  start,
  vfiokit,
} from "../programs.ts";

const FILLED: Port = { scratch: 0x5a, sent: [1, 2, 3, 0xff] };

/** The words that run a shell script with a device lent to it. */
function under({ uuid }: Mtty, script: string): string[] {
  return [...vfiokit(bun), "with", uuid, "--", "sh", "-c", script];
}

function script(name: "precopy" | "stop_and_copy" | "resume"): string {
  return quoted([...phase(name, bun), "fd:3"]);
}

function state(target: string): string {
  return quoted([...vfiokit(bun), "state", "fd:3", target, "--quiet"]);
}

/** Lends a device with something in its port. */
async function withPort(use: (device: Mtty) => Promise<void>): Promise<void> {
  using device = new Mtty(1);
  device.fill(0, FILLED);
  await use(device);
}

/** Two scripts by a pipe, as the README shows them, and the third into another device. */
const piped: Case = {
  name: "hand over: mtty: precopy | stop_and_copy under with, then resume: equal",
  run: (folder) =>
    withPort(async (first) => {
      using second = new Mtty(1);
      const file = `${folder}/checkpoint`;
      const save = `${script("precopy")} | ${script("stop_and_copy")} > ${file}`;
      const saved = await expectExit(0, under(first, save));
      assert.match(saved.stderr, /was left in state stop, and is closed now/);
      const loaded = await expectExit(0, under(second, `${script("resume")} < ${file}`));
      assert.doesNotMatch(loaded.stderr, /was left in/);
      assert.ok((await contentOf(file)).state.length > 24);
      assert.deepEqual(second.drain(0, FILLED.sent.length), FILLED);
    }),
};

const afterwards: Case = {
  name: "hand over: the fd waits for a script that is started when the first has ended",
  run: (folder) =>
    withPort(async (first) => {
      using second = new Mtty(1);
      const [a, b] = [`${folder}/a`, `${folder}/b`];
      const save = `${script("precopy")} > ${a} && ${script("stop_and_copy")} < ${a} > ${b}`;
      const load = `${script("resume")} < ${b}`;
      await expectExit(0, under(first, save));
      await expectExit(0, under(second, load));
      assert.deepEqual(second.drain(0, FILLED.sent.length), FILLED);
    }),
};

/** A device that was closed in pre-copy: mtty keeps that, and there is no fd for it any more. */
async function bringBack({ uuid }: Mtty): Promise<void> {
  const { stderr } = await expectExit(1, [...vfiokit(bun), "save", uuid, "-o", "/dev/null"]);
  assert.match(stderr, /in pre-copy, and nobody has its data fd any more/);
  assert.match(stderr, new RegExp(`hint: .*vfiokit state ${uuid} running$`, "m"));
  await expectExit(0, [...vfiokit(bun), "state", uuid, "running", "--quiet"]);
}

/** Whether a device is as it was, and can be saved. */
async function runs(device: Mtty, folder: string): Promise<void> {
  const words = ["save", device.uuid, "--precopy", "-o", `${folder}/whole`, "--quiet"];
  await expectExit(0, [...vfiokit(bun), ...words]);
  assert.deepEqual(device.drain(0, FILLED.sent.length), FILLED);
}

/** A script that fails, with these words, and what `with` says of the device afterwards. */
function refused(what: string, text: (folder: string) => string, says: RegExp): Case {
  return {
    name: `hand over: ${what}`,
    run: (folder) =>
      withPort(async (device) => {
        const { code, stderr }: Ended = await run(under(device, text(folder)));
        assert.equal(code, 1, stderr);
        assert.match(stderr, says);
        assert.match(stderr, /was left in state pre-copy, and is closed now/);
        await bringBack(device);
        await runs(device, folder);
      }),
  };
}

const refusals: readonly Case[] = [
  refused(
    "stop_and_copy refuses a device in pre-copy with nothing on its stdin",
    (folder) => `${script("precopy")} > ${folder}/a && ${script("stop_and_copy")} < /dev/null`,
    /it is in pre-copy, and what pre-copy wrote does not come in/,
  ),
  refused(
    "stop_and_copy refuses an fd of a pre-copy that is over",
    (folder) =>
      `${script("precopy")} > ${folder}/a && ${state("running")} && ${state("pre-copy")} && ` +
      `${script("stop_and_copy")} < ${folder}/a`,
    /of no use: its device has left pre-copy since \(ENODEV\)[^]*hint: .*begin anew/,
  ),
  refused(
    "stop_and_copy refuses a device whose data fd nobody handed over",
    (folder) =>
      `${script("precopy")} > ${folder}/a && ${state("running")} && ` +
      `${script("precopy")} > ${folder}/b && ${
        script("stop_and_copy")
      } < ${folder}/b > /dev/null; ` +
      `${state("running")} && ${state("pre-copy")} && ${script("stop_and_copy")} < ${folder}/b`,
    /the data fd is another process's/,
  ),
  {
    name: "hand over: precopy refuses at once where it may not hear of a place",
    run: (folder) =>
      withPort(async (device) => {
        const words = phase("precopy", deno).filter((word) => word !== "--allow-env");
        const { code, stderr, stdout } = await run(
          under(device, `${quoted([...words, "fd:3"])} > ${folder}/a`),
        );
        assert.equal(code, 1, stderr);
        assert.equal(stdout, "");
        assert.match(stderr, /no handover for it[^]*hint: .*--allow-env=VFIOKIT_DEVICES/);
        assert.doesNotMatch(stderr, /was left in/);
        await runs(device, folder);
      }),
  },
];

const interrupted: Case = {
  name: "hand over: SIGTERM while stop_and_copy waits for its input: the device runs again",
  run: (folder) =>
    withPort(async (device) => {
      const log = `${folder}/log`;
      // Opened for reading and writing, the fifo never ends.
      const words = `mkfifo ${folder}/fifo && ${script("precopy")} > ${folder}/a && ` +
        `exec 0<> ${folder}/fifo && exec ${script("stop_and_copy")} 2> ${log} > /dev/null`;
      const { kill, ended } = start(under(device, words));
      for (let tries = 0; tries < 1200; tries++) {
        // It tells its progress as soon as it has the device open.
        if (existsSync(log) && readFileSync(log, "utf8").includes("fd:3: pre-copy")) break;
        await sleep(50);
      }
      kill("SIGTERM");
      const { code, stderr } = await ended;
      assert.equal(code, 143, stderr + readFileSync(log, "utf8"));
      assert.doesNotMatch(stderr, /was left in/);
      await runs(device, folder);
    }),
};

/** The cases. */
export const cases: readonly Case[] = [
  afterwards,
  interrupted,
  // What a script refuses does not depend on the kernel; v2 pre-copy has such a pipe, too.
  ...minutes([piped, ...refusals]),
].map((one) => ({ ...one, lacks: lacksMtty }));
