/**
 * Pre-copy in the second protocol: the device runs, and changes, while its
 * state is read. Needs a kernel from 6.2 on.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type PrecopyOptions, probe } from "../../../../mod.ts";
import { GuestDevice, lacks, type Settings, type V2Type, withPair } from "../device.ts";
import { type Case, firstKernel, minutes } from "../harness.ts";
import { restoreFrom, saveTo, type Transferred } from "../library.ts";
import {
  bun,
  deno,
  expectExit,
  phase,
  quoted,
  type Runtime,
  underWith,
  vfiokit,
  wholeJson,
} from "../programs.ts";

const SIZE = 4 << 20;
const SETTINGS: Settings = { size: SIZE, chunk: 256 << 10 };
/** Bytes a second that a device changes while it runs: less than pre-copy reads here. */
const RATE = 512 << 10;

interface Precopied {
  readonly name: string;
  readonly type: V2Type;
  readonly settings?: Settings;
  readonly limits?: PrecopyOptions;
  /** What else holds of the save. */
  readonly holds?: (saved: Transferred) => void;
}

function bytesOf({ phases }: Transferred): readonly number[] {
  return phases.map((phase) => phase.bytes);
}

/** Saved with pre-copy, restored, equal. */
function precopied({ name, type, settings = {}, limits = {}, holds = () => {} }: Precopied): Case {
  return {
    name: `v2 pre-copy: ${type}: ${name}: equal`,
    lacks: () => lacks(type),
    run: (folder) =>
      withPair(type, SETTINGS, async (first, second) => {
        first.set(settings);
        const saved = await saveTo(`${folder}/checkpoint`, first, limits);
        assert.deepEqual(saved.phases.map((phase) => phase.name), ["pre-copy", "stop-and-copy"]);
        assert.deepEqual([saved.state, saved.window.deviceState], ["stop", 1]);
        holds(saved);
        const restored = await restoreFrom(`${folder}/checkpoint`, second);
        assert.deepEqual([restored.state, restored.window.deviceState], ["running", 2]);
        assert.deepEqual([restored.window.crc, restored.bytes], [saved.window.crc, saved.bytes]);
      }),
  };
}

/** All of it before, only what changed after the device has stopped. */
function mostBefore(saved: Transferred): void {
  const [before, after] = bytesOf(saved);
  assert.ok(before! > SIZE, `${before}`);
  assert.ok(after! < SIZE / 2, `${after}`);
}

/** Why no device tells of new initial bytes; null where it does. */
function lacksReinit(): string | null {
  const missing = lacks("v2-full");
  if (missing !== null) return missing;
  const device = new GuestDevice("v2-full");
  try {
    const feature = probe(device.uuid).features.find(({ name }) => name === "MIG_PRECOPY_INFOv2");
    return feature?.supported ? null : "this kernel's VFIO has no MIG_PRECOPY_INFOv2";
  } finally {
    device.remove();
  }
}

const library: readonly Case[] = [
  ...(["v2-precopy", "v2-full"] as const).flatMap((type) =>
    (["ENOMSG", "0"] as const).map((drained) =>
      precopied({
        name: `while the state changes, drained reads answer ${drained}`,
        type,
        settings: { rate: RATE, drained },
        holds: (saved) => {
          assert.ok(saved.window.changedPages > 0);
          mostBefore(saved);
        },
      })
    )
  ),
  precopied({
    name: "of a device that does nothing: all is read before",
    type: "v2-full",
    holds: mostBefore,
  }),
  precopied({
    name: "data fds that do not block, of a device that needs its time",
    type: "v2-full",
    settings: { rate: RATE, nonblock: 1, fault: "block:10" },
  }),
  precopied({
    name: "short reads, and one that is not ready",
    type: "v2-precopy",
    settings: { fault: "short-read:1,read:3:EAGAIN,short-read:4" },
    holds: mostBefore,
  }),
  precopied({
    name: "a device that never drains is stopped after so many rounds",
    type: "v2-full",
    settings: { fault: "never-drains:1" },
    limits: { maxRounds: 3 },
    holds: (saved) => assert.ok(bytesOf(saved)[0]! < 5 * SIZE),
  }),
  precopied({
    name: "a device that never drains is stopped after its time",
    type: "v2-precopy",
    settings: { fault: "never-drains:1" },
    // Long enough to read everything once on a slow machine: only then has the fault an effect.
    limits: { maxRounds: 1_000_000, maxTimeMs: 3000 },
  }),
  precopied({
    name: "initial bytes that never get to 0 are not waited for for ever",
    type: "v2-full",
    settings: { fault: "initial-never-zero:1" },
    holds: mostBefore,
  }),
  precopied({
    name: "info that cannot be had ends it: the rest follows",
    type: "v2-full",
    settings: { fault: "precopy-info:2:EIO" },
  }),
  {
    ...precopied({
      name: "new initial bytes on the way are read too",
      type: "v2-full",
      settings: { fault: "reinit:3" },
      // By then two reads were made; from there on it is all of it again.
      holds: (saved) => assert.ok(bytesOf(saved)[0]! > 1.25 * SIZE, `${bytesOf(saved)}`),
    }),
    lacks: lacksReinit,
  },
  ...["data-size-zero:1", "data-size:1:EIO"].map((fault) =>
    precopied({
      name: `no estimate of what stop-copy will give (${fault})`,
      type: "v2-precopy",
      settings: { fault },
    })
  ),
];

interface Report {
  readonly bytes: number;
  readonly phases: readonly { readonly name: string; readonly bytes: number }[];
}

function command(saves: Runtime, restores: Runtime): Case {
  const [saver, restorer] = [saves, restores].map((each) => each === bun ? "Bun" : "Deno");
  return {
    name: `v2 pre-copy: command line: saved in ${saver}, restored in ${restorer}: equal`,
    lacks: () => lacks("v2-full"),
    run: (folder) =>
      withPair("v2-full", SETTINGS, async (first, second) => {
        first.set({ rate: RATE });
        const file = `${folder}/checkpoint`;
        const options = ["--json", "--quiet"];
        const save = ["save", first.uuid, "-o", file, "--precopy", ...options];
        const saved = wholeJson<Report>(await expectExit(0, [...vfiokit(saves), ...save]));
        assert.deepEqual(saved.phases.map(({ name }) => name), ["pre-copy", "stop-and-copy"]);
        // The driver checks the whole by its CRC before it takes it.
        const restore = ["restore", second.uuid, file, ...options];
        const restored = wholeJson<Report>(await expectExit(0, [...vfiokit(restores), ...restore]));
        assert.equal(restored.bytes, saved.bytes);
      }),
  };
}

/** The data fd goes from the first phase's process to the second's. */
function piped(runtime: Runtime, type: V2Type): Case {
  const name = runtime === bun ? "Bun" : "Deno";
  return {
    name: `v2 pre-copy: pipe: in ${name}: ${type}: the phases' scripts under with: equal`,
    lacks: () => lacks(type),
    run: (folder) =>
      withPair(type, SETTINGS, async (first, second) => {
        first.set({ rate: RATE });
        const file = `${folder}/checkpoint`;
        const [before, after, load] = (["precopy", "stop_and_copy", "resume"] as const)
          .map((name) => quoted([...phase(name, runtime), "fd:3"]));
        const saved = await underWith(runtime, first.uuid, `${before} | ${after} > ${file}`);
        assert.ok(saved.changedPages > 0);
        const restored = await underWith(runtime, second.uuid, `${load} < ${file}`);
        assert.deepEqual([saved.deviceState, restored.deviceState], [1, 2]);
        assert.equal(restored.crc, saved.crc);
      }),
  };
}

/** The cases. */
export const cases: readonly Case[] = [
  ...library,
  ...firstKernel([
    command(deno, bun),
    piped(deno, "v2-precopy"),
    // Of v1, Bun's pipe is always run.
    ...minutes([command(bun, deno), piped(bun, "v2-full")]),
  ]),
];
