/**
 * The second protocol: what went out of one device comes into another, and
 * what is said of such devices.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import {
  IdentityError,
  MigrationError,
  type PrecopyOptions,
  probe,
  TransferError,
} from "../../../../mod.ts";
import { lacks, type Settings, V2_TYPES, type V2Type, withPair } from "../device.ts";
import { type Case, firstKernel } from "../harness.ts";
import { restoreFrom, saveTo, stepError } from "../library.ts";
import {
  bun,
  deno,
  expectExit,
  lastJson,
  phase,
  quoted,
  reported,
  type Runtime,
  underWith,
  vfiokit,
  wholeJson,
  type Window,
} from "../programs.ts";

const SMALL: Settings = { size: 1 << 20, chunk: 64 << 10 };

/** What each type of device offers. */
const FLAGS: Readonly<Record<V2Type, readonly string[]>> = {
  "v2": ["STOP_COPY"],
  "v2-p2p": ["STOP_COPY", "P2P"],
  "v2-precopy": ["STOP_COPY", "PRE_COPY"],
  "v2-full": ["STOP_COPY", "P2P", "PRE_COPY"],
};

/** Types whose device logs its DMA. */
const LOGS: readonly V2Type[] = ["v2-p2p", "v2-full"];

const probes: readonly Case[] = V2_TYPES.map((type) => ({
  name: `v2: probe: ${type}: the protocol, its flags, each feature with its errno`,
  lacks: () => lacks(type),
  run: () =>
    withPair(type, {}, async ({ uuid }) => {
      await Promise.resolve();
      const { protocol, migratable, migrationFlags, dataSection, features, reasons } = probe(uuid);
      assert.deepEqual([protocol, migratable, dataSection, reasons], ["v2", true, null, []]);
      assert.deepEqual(migrationFlags, FLAGS[type]);
      const errnos = Object.fromEntries(features.map(({ name, errno }) => [name, errno]));
      const log = LOGS.includes(type) ? null : "ENOTTY";
      const { MIG_PRECOPY_INFOv2: reinit, ...others } = errnos;
      if (!FLAGS[type].includes("PRE_COPY")) assert.notEqual(reinit, null);
      assert.deepEqual(others, {
        MIGRATION: null,
        MIG_DEVICE_STATE: null,
        // Before 6.2 no kernel has it.
        MIG_DATA_SIZE: lacks("v2-precopy") === null ? null : "ENOTTY",
        DMA_LOGGING_START: log,
        DMA_LOGGING_STOP: log,
        DMA_LOGGING_REPORT: log,
        LOW_POWER_ENTRY: "ENOTTY",
        LOW_POWER_ENTRY_WITH_WAKEUP: "ENOTTY",
        LOW_POWER_EXIT: "ENOTTY",
        BUS_MASTER: "ENOTTY",
      });
    }),
}));

interface Transfer {
  readonly name: string;
  readonly type: V2Type;
  readonly settings?: Settings;
  readonly saving?: Settings;
  readonly restoring?: Settings;
  readonly precopy?: PrecopyOptions;
}

/** Saved and restored in this process. */
function equal(
  { name, type, settings = SMALL, saving = {}, restoring = {}, precopy }: Transfer,
): Case {
  return {
    name: `v2: library: ${type}: ${name}: equal`,
    lacks: () => lacks(type),
    run: (folder) =>
      withPair(type, settings, async (first, second) => {
        first.set(saving);
        second.set(restoring);
        const saved = await saveTo(`${folder}/checkpoint`, first, precopy);
        assert.deepEqual([saved.state, saved.window.deviceState], ["stop", 1]);
        if (saving.rate !== undefined) assert.ok(saved.window.changedPages > 0);
        const restored = await restoreFrom(`${folder}/checkpoint`, second);
        assert.deepEqual([restored.state, restored.window.deviceState], ["running", 2]);
        assert.ok(restored.window.differs);
        assert.deepEqual(
          [restored.window.crc, restored.bytes],
          [saved.window.crc, saved.bytes],
        );
        assert.deepEqual(
          saved.phases.map((each) => each.name),
          precopy === undefined ? ["stop-and-copy"] : ["pre-copy", "stop-and-copy"],
        );
      }),
  };
}

const library: readonly Case[] = [
  ...V2_TYPES.map((type) => equal({ name: "stop-copy", type })),
  equal({ name: "16 MiB in records of 1 MiB", type: "v2", settings: {} }),
  equal({ name: "records of 5 MiB", type: "v2-p2p", settings: { chunk: 5 << 20 } }),
  equal({
    name: "short reads and writes, and some that are not ready",
    type: "v2",
    saving: { fault: "short-read:1,read:3:EAGAIN,short-read:4" },
    restoring: { fault: "short-write:1,write:3:EAGAIN,short-write:2" },
  }),
  equal({
    name: "data fds that do not block, of a device that needs its time",
    type: "v2-p2p",
    settings: { ...SMALL, nonblock: 1, fault: "block:20" },
  }),
];

/** The command line saves and restores; the window is read while the device is open. */
async function transfer(
  runtime: Runtime,
  folder: string,
  words: readonly string[],
): Promise<{ readonly bytes: number; readonly window: Window }> {
  const file = `${folder}/window`;
  const look = ["--", "sh", "-c", `window > ${file}`];
  const ended = await expectExit(0, [...vfiokit(runtime), ...words, "--json", "--quiet", ...look]);
  const window: Window = JSON.parse(readFileSync(file, "utf8"));
  return { bytes: wholeJson<{ bytes: number }>(reported(ended)).bytes, window };
}

const commands: readonly Case[] = [
  {
    name: "v2: command line: saved in Deno, restored in Bun: equal",
    lacks: () => lacks("v2-p2p"),
    run: (folder) =>
      withPair("v2-p2p", SMALL, async (first, second) => {
        const file = `${folder}/checkpoint`;
        const save = ["save", first.uuid, "-o", file, "--leave", "stop"];
        const saved = await transfer(deno, folder, save);
        const restored = await transfer(bun, folder, ["restore", second.uuid, file]);
        assert.deepEqual([saved.window.deviceState, restored.window.deviceState], [1, 2]);
        assert.deepEqual([restored.window.crc, restored.bytes], [saved.window.crc, saved.bytes]);
      }),
  },
];

const pipes: readonly Case[] = [
  {
    name: "v2: pipe: save -o - in Bun | restore - in Deno: equal",
    lacks: () => lacks("v2"),
    run: (folder) =>
      withPair("v2", SMALL, async (first, second) => {
        const { window } = await saveTo(`${folder}/checkpoint`, first);
        const save = [...vfiokit(bun), "save", first.uuid, "-o", "-", "--quiet"];
        const restore = [...vfiokit(), "restore", second.uuid, "-", "--quiet", "--", "window"];
        const ended = await expectExit(0, ["sh", "-c", `${quoted(save)} | ${quoted(restore)}`]);
        assert.equal(lastJson<Window>(ended).crc, window.crc);
      }),
  },
  {
    name: "v2: pipe: the phases' own scripts under with: equal",
    lacks: () => lacks("v2-p2p"),
    run: (folder) =>
      withPair("v2-p2p", SMALL, async (first, second) => {
        const file = `${folder}/checkpoint`;
        const save = quoted([...phase("stop_and_copy", bun), "fd:3"]);
        const saved = await underWith(bun, first.uuid, `${save} > ${file}`);
        const load = quoted([...phase("resume", bun), "fd:3"]);
        const restored = await underWith(bun, second.uuid, `${load} < ${file}`);
        assert.deepEqual([saved.deviceState, restored.deviceState], [1, 2]);
        assert.equal(restored.crc, saved.crc);
      }),
  },
];

/** A checkpoint of one protocol, for a device that speaks the other. */
function otherProtocol(from: "trapped" | "v2", to: "trapped" | "v2"): Case {
  return {
    name: `v2: identity: a checkpoint of ${from} is refused by ${to}, which is not touched`,
    lacks: () => lacks("v2"),
    run: (folder) =>
      withPair(from, SMALL, async (first) => {
        await saveTo(`${folder}/checkpoint`, first);
        await withPair(to, SMALL, async (second) => {
          // Whatever is asked to happen on any step, none is made.
          second.set({ fault: "transition:1:EIO" });
          for (const force of [false, true]) {
            await assert.rejects(
              restoreFrom(`${folder}/checkpoint`, second, { force }),
              (error) =>
                error instanceof TransferError && error.cause instanceof IdentityError &&
                /protocol/.test(error.message),
            );
          }
          assert.deepEqual(second.unmetFaults, ["transition:1:-5"]);
          second.set({ fault: "" });
        });
      }),
  };
}

const bad: readonly Case[] = [
  otherProtocol("trapped", "v2"),
  otherProtocol("v2", "trapped"),
  {
    name: "v2: a state of another size is refused by the driver as incompatible, and it is reset",
    lacks: () => lacks("v2"),
    run: (folder) =>
      withPair("v2", SMALL, async (first, second) => {
        await saveTo(`${folder}/checkpoint`, first);
        second.set({ size: 2 << 20 });
        const error = await restoreFrom(`${folder}/checkpoint`, second).catch(stepError);
        assert.ok(error instanceof MigrationError, String(error));
        assert.deepEqual(
          [error.errno, error.recovery, error.deviceState, second.state],
          ["EINVAL", "reset", "running", 2],
        );
        assert.match(error.message, /incompatible/);
      }),
  },
];

const cut: readonly Case[] = [
  {
    name: "v2: pipe: a checkpoint that is cut resets the device, exit 4",
    lacks: () => lacks("v2"),
    run: (folder) =>
      withPair("v2", SMALL, async (first, second) => {
        await saveTo(`${folder}/checkpoint`, first);
        const whole = readFileSync(`${folder}/checkpoint`);
        writeFileSync(`${folder}/cut`, whole.subarray(0, 700_000));
        const words = quoted([...vfiokit(bun), "restore", second.uuid, "-", "--quiet"]);
        const { stderr } = await expectExit(4, ["sh", "-c", `cat ${folder}/cut | ${words}`]);
        assert.match(stderr, /reset/);
        assert.equal(second.state, 2);
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = [
  ...probes,
  ...library,
  ...commands,
  ...bad,
  ...firstKernel([...pipes, ...cut]),
];
