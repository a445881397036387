/**
 * Saving and restoring: what went out of one device comes into another.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type DeviceType, type GuestDevice, withPair } from "../device.ts";
import { type Case, firstKernel, minutes } from "../harness.ts";
import { restoreFrom, saveTo } from "../library.ts";
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

/** Bytes a second that a device changes while it runs: less than pre-copy reads here. */
const RATE = 2 << 20;

/** The report of save and restore, and the window of the device after it. */
interface Transfer {
  readonly state: string;
  readonly transactions: number;
  readonly bytes: number;
  readonly phases: readonly { readonly name: string; readonly bytes: number }[];
  readonly window: Window;
}

/** The runtimes that save and restore: they need not be the same. */
interface Runtimes {
  readonly saves: Runtime;
  readonly restores: Runtime;
}

/** Saves or restores; the window is read while the device is still open. */
async function transfer(
  runtime: Runtime,
  folder: string,
  words: readonly string[],
): Promise<Transfer> {
  const file = `${folder}/window`;
  const look = ["--", "sh", "-c", `window > ${file}`];
  const ended = await expectExit(0, [...vfiokit(runtime), ...words, "--json", "--quiet", ...look]);
  const window: Window = JSON.parse(readFileSync(file, "utf8"));
  return { ...wholeJson<Omit<Transfer, "window">>(reported(ended)), window };
}

async function roundTrip(
  { saves, restores }: Runtimes,
  folder: string,
  [first, second]: readonly [GuestDevice, GuestDevice],
  ...options: string[]
): Promise<Transfer> {
  const file = `${folder}/checkpoint`;
  const save = ["save", first.uuid, "-o", file, "--leave", "stop", ...options];
  const saved = await transfer(saves, folder, save);
  assert.equal(saved.state, "stop");
  const restored = await transfer(restores, folder, ["restore", second.uuid, file]);
  assert.equal(restored.state, "running");
  assert.ok(restored.window.differs);
  assert.deepEqual(
    [restored.window.crc, restored.bytes, restored.transactions],
    [saved.window.crc, saved.bytes, saved.transactions],
  );
  return saved;
}

function name(what: string, type: DeviceType, { saves, restores }: Runtimes): string {
  const [saver, restorer] = [saves, restores].map((each) => each === bun ? "Bun" : "Deno");
  return `${what}: ${type}: saved in ${saver}, restored in ${restorer}: equal`;
}

function stopped(type: DeviceType, runtimes: Runtimes): Case {
  return {
    name: name("save", type, runtimes),
    run: (folder) =>
      withPair(type, {}, async (first, second) => {
        const saved = await roundTrip(runtimes, folder, [first, second]);
        assert.ok(saved.bytes > saved.window.size);
        assert.deepEqual(saved.phases.map((each) => each.name), ["stop-and-copy"]);
      }),
  };
}

function precopied(type: DeviceType, runtimes: Runtimes): Case {
  return {
    name: name("pre-copy while the state changes", type, runtimes),
    run: (folder) =>
      withPair(type, {}, async (first, second) => {
        first.set({ rate: RATE });
        const saved = await roundTrip(runtimes, folder, [first, second], "--precopy");
        assert.ok(saved.window.changedPages > 0);
        const bytes = new Map(saved.phases.map((each) => [each.name, each.bytes]));
        assert.deepEqual([...bytes.keys()], ["pre-copy", "stop-and-copy"]);
        assert.ok((bytes.get("pre-copy") ?? 0) > saved.window.size);
        assert.ok((bytes.get("stop-and-copy") ?? 0) < saved.window.size);
      }),
  };
}

/** Transactions of other sizes, by the library. */
function sized(name: string, chunk: number, transactions: (pages: number) => number): Case {
  return {
    name: `library: ${name}: equal`,
    run: (folder) =>
      withPair("partitioned", { chunk }, async (first, second) => {
        const saved = await saveTo(`${folder}/checkpoint`, first);
        const restored = await restoreFrom(`${folder}/checkpoint`, second);
        assert.equal(saved.transactions, transactions(saved.window.size / 4096));
        assert.equal(restored.transactions, saved.transactions);
        assert.equal(restored.window.crc, saved.window.crc);
      }),
  };
}

/** Phases by pipes under `with`, as the README shows them. */
function piped(name: string, runtime: Runtime): Case {
  return {
    name: `pipe: in ${name}: precopy | stop_and_copy under with, then resume: equal`,
    run: (folder) =>
      withPair("trapped", {}, async (first, second) => {
        first.set({ rate: RATE });
        const file = `${folder}/checkpoint`;
        const save = [
          quoted([...phase("precopy", runtime), "fd:3"]),
          quoted([...phase("stop_and_copy", runtime), "fd:3"]),
          `cat > ${file}`,
        ].join(" | ");
        const load = `${quoted([...phase("resume", runtime), "fd:3"])} < ${file}`;
        const saved = await underWith(runtime, first.uuid, save);
        assert.equal(saved.deviceState, 0);
        assert.ok(saved.changedPages > 0);
        const restored = await underWith(runtime, second.uuid, load);
        assert.equal(restored.deviceState, 1);
        assert.equal(restored.crc, saved.crc);
      }),
  };
}

const intoAnother: Case = {
  name: "pipe: save -o - in Deno | restore - in Bun: equal",
  run: (folder) =>
    withPair("mapped", {}, async (first, second) => {
      const { window } = await saveTo(`${folder}/checkpoint`, first);
      const save = [...vfiokit(), "save", first.uuid, "-o", "-", "--quiet"];
      const restore = [...vfiokit(bun), "restore", second.uuid, "-", "--quiet", "--", "window"];
      const ended = await expectExit(0, ["sh", "-c", `${quoted(save)} | ${quoted(restore)}`]);
      assert.equal(lastJson<Window>(ended).crc, window.crc);
    }),
};

/** The cases. */
export const cases: readonly Case[] = [
  precopied("mapped", { saves: deno, restores: bun }),
  ...firstKernel([
    precopied("trapped", { saves: deno, restores: deno }),
    precopied("partitioned", { saves: bun, restores: deno }),
    piped("Bun", bun),
    // What pre-copy ends with, the other runtime's pipe, and what is always run of v2.
    ...minutes([
      stopped("trapped", { saves: deno, restores: deno }),
      stopped("mapped", { saves: bun, restores: bun }),
      piped("Deno", deno),
      intoAnother,
    ]),
  ]),
  // A record is a page or more of state behind 32 bytes; the first says what the device is.
  sized("transactions of 4 KiB and a little", 8192, (pages) => 1 + pages + 1),
  sized("transactions of 5 MiB, larger than any batch", 5 << 20, () => 1 + 4 + 1),
];
