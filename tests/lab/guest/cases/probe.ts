/**
 * What the tool says of a real kernel's devices without changing them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { probe } from "../../../../mod.ts";
import { TYPES, type V1Type, withPair } from "../device.ts";
import { type Case, firstKernel } from "../harness.ts";
import {
  bun,
  deno,
  expectExit,
  quoted,
  reported,
  type Runtime,
  vfiokit,
  wholeJson,
  type Window,
} from "../programs.ts";

interface Probed {
  readonly access: { readonly via: string | null };
  readonly migratable: boolean | null;
  readonly protocol: string | null;
  readonly dataSection: string | null;
  readonly reasons: readonly { readonly code: string }[];
  readonly regions: readonly {
    readonly index: number;
    readonly type: { readonly type: number; readonly subtype: number } | null;
    readonly sparse: readonly unknown[] | null;
  }[];
  readonly dirty: {
    readonly tracks: boolean | null;
    readonly pgsizes: readonly number[];
    readonly maxBitmapBytes: number | null;
  };
}

const AREAS = { trapped: null, mapped: 1, partitioned: 7 } as const;

function assertMigratable(type: V1Type, { regions, dirty, ...rest }: Probed): void {
  // Opened by its own node, a device has no type1 container.
  const container = rest.access.via === "group";
  assert.deepEqual(
    [rest.migratable, rest.protocol, rest.dataSection, rest.reasons],
    [true, "v1", type, []],
  );
  assert.deepEqual(
    dirty,
    container
      ? { tracks: true, pgsizes: [4096], maxBitmapBytes: 1 << 28 }
      : { tracks: null, pgsizes: [], maxBitmapBytes: null },
  );
  const region = regions.find(({ index }) => index === 9);
  assert.deepEqual(region?.type, { type: 3, subtype: 1 });
  assert.equal(region?.sparse?.length ?? null, AREAS[type]);
}

async function probed(name: string, code: number, runtime: Runtime): Promise<Probed> {
  return wholeJson<Probed>(await expectExit(code, [...vfiokit(runtime), "probe", name, "--json"]));
}

const probes: readonly Case[] = [
  ...TYPES.map((type): Case => ({
    name: `probe: library: ${type}: the device can be migrated, and its pages are tracked`,
    run: () =>
      withPair(type, {}, async ({ uuid }) => {
        await Promise.resolve();
        assertMigratable(type, probe(uuid));
        assert.equal(probe(uuid, { open: false }).protocol, null);
      }),
  })),
  {
    name: "probe: the device can be migrated, and its pages are tracked",
    run: () =>
      withPair("partitioned", {}, async ({ uuid }) => {
        assertMigratable("partitioned", await probed(uuid, 0, deno));
      }),
  },
];

const commands: readonly Case[] = [
  {
    name: "probe: a device that is not there is exit 3, with the reason",
    run: async () => {
      const gone = "00000000-0000-4000-8000-000000000000";
      assert.equal((await probed(gone, 3, bun)).reasons.length, 1);
    },
  },
];

const states: readonly Case[] = [
  {
    name: "state: the state that was asked for is there while the program runs",
    run: () =>
      withPair("trapped", {}, async ({ uuid }) => {
        const words = [...vfiokit(), "state", uuid, "pre-copy", "--json", "--quiet"];
        const ended = await expectExit(0, [...words, "--", "window"]);
        const { state, raw } = wholeJson<{ state: string; raw: number }>(reported(ended));
        assert.equal(state, "pre-copy");
        // The reserved bits are shown as they are, without a sign.
        assert.ok(raw > 2 ** 31 && (raw & 7) === 3);
        const window: Window = JSON.parse(ended.stdout);
        assert.equal(window.deviceState, 3);
      }),
  },
  {
    name: "reset: a device held in resuming is running again",
    run: () =>
      withPair("trapped", {}, async ({ uuid }) => {
        const inner = quoted([...vfiokit(bun), "reset", "fd:3", "--quiet"]);
        const outer = [...vfiokit(), "state", uuid, "resuming", "--quiet", "--"];
        const ended = await expectExit(0, [...outer, "sh", "-c", `window && ${inner} && window`]);
        const windows = ended.stdout.split("\n").filter((line) => line.startsWith("{"));
        assert.deepEqual(windows.map((line) => JSON.parse(line).deviceState), [4, 1]);
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = [...probes, ...firstKernel([...commands, ...states])];
