/**
 * What real drivers do against the rules and are served all the same: it is
 * told. A driver that keeps to them is told nothing of.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  createCheckpointFile,
  type DriverNote,
  openDevice,
  type PrecopyOptions,
  save,
} from "../../../../mod.ts";
import { libcKernel } from "../../../../src/kernel/mod.ts";
import type { DriverNoteCode } from "../../../../src/vfio/mod.ts";
import { type DeviceType, lacks, type Settings, TYPES, V2_TYPES, withPair } from "../device.ts";
import type { Case } from "../harness.ts";
import { restoreFrom, saveTo } from "../library.ts";
import { lacksMtty, Mtty } from "../mtty.ts";
import { bun, expectExit, vfiokit, wholeJson } from "../programs.ts";

const SMALL: Settings = { size: 1 << 20, chunk: 64 << 10 };

/** So short that pre-copy goes on until there is nothing to read any more. */
const TO_THE_END: PrecopyOptions = { downtimeMs: 1e-6 };

interface Mistake {
  readonly type: DeviceType;
  readonly fault: string;
  readonly precopy?: PrecopyOptions;
  readonly notes: readonly DriverNoteCode[];
}

const SAVES: readonly Mistake[] = [
  { type: "trapped", fault: "data-size-zero:3", notes: ["data-size-zero"] },
  { type: "trapped", fault: "short-read:2", notes: ["short-transfer"] },
  { type: "mapped", fault: "mmap:1:EINVAL", notes: ["mmap-failed"] },
  { type: "v2", fault: "state-read:1:EIO", notes: ["state-read-failed"] },
  {
    type: "v2-precopy",
    fault: "precopy-info:1:EIO",
    precopy: {},
    notes: ["precopy-info-failed"],
  },
  {
    type: "v2-precopy",
    fault: "precopy-info:2:ENOTTY",
    precopy: {},
    notes: ["precopy-info-missing"],
  },
  {
    type: "v2-full",
    fault: "initial-never-zero:1",
    precopy: {},
    notes: ["initial-bytes-not-falling", "initial-bytes-left"],
  },
  { type: "v2", fault: "short-read:1", notes: ["short-read"] },
];

const RESTORES: readonly Mistake[] = [
  { type: "v2", fault: "short-write:2", notes: ["short-write"] },
];

function codes(notes: readonly DriverNote[] | undefined): DriverNoteCode[] | undefined {
  return notes?.map(({ code }) => code);
}

function needs(type: DeviceType): () => string | null {
  return () => lacks(type);
}

const mistakes: readonly Case[] = [
  ...SAVES.map(({ type, fault, precopy, notes }): Case => ({
    name: `notes: save: ${type}: ${fault} gives ${notes.join(", ")}`,
    lacks: needs(type),
    run: (folder) =>
      withPair(type, SMALL, async (first) => {
        first.set({ fault });
        assert.deepEqual(
          codes((await saveTo(`${folder}/a`, first, precopy)).devices[0]?.notes),
          notes,
        );
      }),
  })),
  ...RESTORES.map(({ type, fault, notes }): Case => ({
    name: `notes: restore: ${type}: ${fault} gives ${notes.join(", ")}`,
    lacks: needs(type),
    run: (folder) =>
      withPair(type, SMALL, async (first, second) => {
        await saveTo(`${folder}/a`, first);
        second.set({ fault });
        assert.deepEqual(
          codes((await restoreFrom(`${folder}/a`, second)).devices[0]?.notes),
          notes,
        );
      }),
  })),
  {
    name: "notes: the command line tells them in JSON and on stderr",
    lacks: needs("v2-precopy"),
    run: (folder) =>
      withPair("v2-precopy", SMALL, async (device) => {
        device.set({ fault: "precopy-info:1:EIO" });
        const words = ["save", device.uuid, "--precopy", "-o", `${folder}/a`, "--json"];
        const ended = await expectExit(0, [...vfiokit(bun), ...words]);
        const { notes } = wholeJson<{ notes: readonly DriverNote[] }>(ended);
        assert.deepEqual(codes(notes), ["precopy-info-failed"]);
      }),
  },
];

const clean: readonly Case[] = [...TYPES, ...V2_TYPES].map((type): Case => ({
  name: `notes: none of ${type}, saved and restored`,
  lacks: needs(type),
  run: (folder) =>
    withPair(type, SMALL, async (first, second) => {
      const precopy = type === "v2" || type === "v2-p2p" ? undefined : {};
      const saved = await saveTo(`${folder}/a`, first, precopy);
      const restored = await restoreFrom(`${folder}/a`, second);
      assert.deepEqual([saved, restored].map(({ devices }) => devices[0]?.notes), [[], []]);
    }),
}));

const mtty: readonly Case[] = [
  ["with pre-copy", {}, []],
  ["with pre-copy to its end", TO_THE_END, ["drained-zero"]],
].map(([how, precopy, notes]): Case => ({
  name: `notes: mtty saved ${how}: ${(notes as string[]).join(", ") || "none"}`,
  lacks: lacksMtty,
  run: async (folder) => {
    using from = new Mtty(1);
    await using device = await openDevice(from.uuid, { kernel: libcKernel() });
    await using sink = await createCheckpointFile(`${folder}/a`);
    const report = await save(device, sink, { precopy: precopy as PrecopyOptions });
    assert.deepEqual(codes(report.devices[0]?.notes), notes);
  },
}));

/** The cases. */
export const cases: readonly Case[] = [...mistakes, ...clean, ...mtty];
