/**
 * Saving and restoring: what went out of one device comes into another.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, rmSync, statSync } from "node:fs";
import { type GuestDevice, type Settings, TYPES, withPair } from "../device.ts";
import type { Case } from "../harness.ts";
import {
  bun,
  deno,
  expectExit,
  lastJson,
  phase,
  quoted,
  type Runtime,
  vfiokit,
  wholeJson,
  type Window,
} from "../programs.ts";

const FILE = "/tmp/checkpoint";
const WINDOW_FILE = "/tmp/window";

/** The report of save and restore, and the window of the device after it. */
interface Transfer {
  readonly state: string;
  readonly transactions: number;
  readonly bytes: number;
  readonly phases: readonly { readonly name: string; readonly bytes: number }[];
  readonly window: Window;
}

/** Saves or restores; the window is read while the device is still open. */
async function transfer(
  runtime: Runtime,
  words: readonly string[],
): Promise<Transfer> {
  const look = ["--", "sh", "-c", `window > ${WINDOW_FILE}`];
  const ended = await expectExit(0, [...vfiokit(runtime), ...words, "--json", "--quiet", ...look]);
  const { stdout } = await expectExit(0, ["cat", WINDOW_FILE]);
  return { ...wholeJson<Omit<Transfer, "window">>(ended), window: JSON.parse(stdout) };
}

async function roundTrip(
  runtime: Runtime,
  first: GuestDevice,
  second: GuestDevice,
  ...options: string[]
): Promise<Transfer> {
  rmSync(FILE, { force: true });
  const save = ["save", first.uuid, "-o", FILE, "--leave", "stopped", ...options];
  const saved = await transfer(runtime, save);
  assert.equal(saved.state, "stop");
  await expectExit(0, [...vfiokit(runtime), "verify", FILE, "--quiet"]);
  const restored = await transfer(runtime, ["restore", second.uuid, FILE]);
  assert.equal(restored.state, "running");
  assert.ok(restored.window.differs);
  assert.deepEqual(
    [restored.window.crc, restored.bytes, restored.transactions],
    [saved.window.crc, saved.bytes, saved.transactions],
  );
  return saved;
}

function savedAndRestored(name: string, settings: Settings, runtime: Runtime): readonly Case[] {
  return TYPES.map((type) => ({
    name: `${name}: ${type}: saved, verified, restored into another device: equal`,
    run: () =>
      withPair(type, settings, async (first, second) => {
        const saved = await roundTrip(runtime, first, second);
        assert.ok(saved.bytes > saved.window.size);
        assert.deepEqual(saved.phases.map((each) => each.name), ["stop-and-copy"]);
      }),
  }));
}

function precopied(name: string, runtime: Runtime): readonly Case[] {
  return TYPES.map((type) => ({
    name: `${name}: ${type}: pre-copy while the state changes: equal`,
    run: () =>
      withPair(type, {}, async (first, second) => {
        first.set({ rate: 16 << 20 });
        const saved = await roundTrip(runtime, first, second, "--precopy");
        assert.ok(saved.window.changedPages > 0);
        const bytes = new Map(saved.phases.map((each) => [each.name, each.bytes]));
        assert.deepEqual([...bytes.keys()], ["pre-copy", "stop-and-copy"]);
        assert.ok((bytes.get("pre-copy") ?? 0) > saved.window.size);
        assert.ok((bytes.get("stop-and-copy") ?? 0) < saved.window.size);
      }),
  }));
}

const sizes: readonly Case[] = [
  {
    name: "save: transactions of 4 KiB and a little, thousands of them: equal",
    run: () =>
      withPair("partitioned", { chunk: 4096 * 2 }, async (first, second) => {
        const saved = await roundTrip(deno, first, second);
        // One a page, one that says what the device is, one that ends the state.
        assert.equal(saved.transactions, saved.window.size / 4096 + 2);
      }),
  },
  {
    name: "save: transactions of 5 MiB, larger than any batch: equal",
    run: () =>
      withPair("partitioned", { chunk: 5 << 20 }, async (first, second) => {
        const saved = await roundTrip(deno, first, second);
        assert.equal(saved.transactions, 4 + 2);
      }),
  },
  {
    name: "save: compressed, with a digest: equal",
    run: () =>
      withPair("trapped", { size: 1 << 20 }, async (first, second) => {
        await roundTrip(deno, first, second, "--compress", "zstd", "--digest", "sha256");
      }),
  },
];

/** Phases by pipes under `with`, as the README shows them. */
function piped(name: string, runtime: Runtime): Case {
  return {
    name,
    run: () =>
      withPair("trapped", {}, async (first, second) => {
        first.set({ rate: 16 << 20 });
        rmSync(FILE, { force: true });
        const save = [
          quoted([...phase("precopy", runtime), "fd:3"]),
          quoted([...phase("stop_and_copy", runtime), "fd:3"]),
          `cat > ${FILE}`,
        ].join(" | ");
        const load = `${quoted([...phase("resume", runtime), "fd:3"])} < ${FILE}`;
        const under = async ({ uuid }: GuestDevice, script: string): Promise<Window> => {
          const words = [...vfiokit(runtime), "with", uuid, "--quiet", "--"];
          return lastJson(await expectExit(0, [...words, "sh", "-c", `${script} && window`]));
        };
        const saved = await under(first, save);
        assert.equal(saved.deviceState, 0);
        assert.ok(saved.changedPages > 0);
        await expectExit(0, [...vfiokit(runtime), "verify", FILE, "--quiet"]);
        const restored = await under(second, load);
        assert.equal(restored.deviceState, 1);
        assert.equal(restored.crc, saved.crc);
      }),
  };
}

const files: readonly Case[] = [
  {
    name: "pipe: save -o - | restore -, one device into the other: equal",
    run: () =>
      withPair("mapped", {}, async (first, second) => {
        const save = [...vfiokit(), "save", first.uuid, "-o", "-", "--quiet"];
        const restore = [...vfiokit(), "restore", second.uuid, "-", "--quiet", "--", "window"];
        const saved = await transfer(deno, ["state", first.uuid]);
        const script = `${quoted(save)} | ${quoted(restore)}`;
        const ended = await expectExit(0, ["sh", "-c", script]);
        assert.equal(lastJson<Window>(ended).crc, saved.window.crc);
      }),
  },
  {
    name: "save: an existing file stays without --force",
    run: () =>
      withPair("trapped", { size: 1 << 20 }, async ({ uuid }) => {
        const { stdout } = await expectExit(0, ["sh", "-c", `echo mine > ${FILE}; cat ${FILE}`]);
        await expectExit(1, [...vfiokit(), "save", uuid, "-o", FILE, "--quiet"]);
        assert.equal((await expectExit(0, ["cat", FILE])).stdout, stdout);
      }),
  },
  {
    name: "save: -o /dev/null --force leaves /dev/null a device",
    run: () =>
      withPair("trapped", { size: 1 << 20 }, async ({ uuid }) => {
        await expectExit(0, [...vfiokit(), "save", uuid, "-o", "/dev/null", "--force", "--quiet"]);
        assert.ok(existsSync("/dev/null") && statSync("/dev/null").isCharacterDevice());
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = [
  ...savedAndRestored("save", {}, deno),
  ...precopied("pre-copy", deno),
  ...sizes,
  piped("pipe: precopy | stop_and_copy under with, then resume: equal", deno),
  ...files,
  ...savedAndRestored("bun", {}, bun),
  ...precopied("bun", bun),
  piped("bun: phases by pipes: equal", bun),
];
