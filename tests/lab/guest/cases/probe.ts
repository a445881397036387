/**
 * What the tool says of a real kernel's devices without changing them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { GuestDevice, TYPES, withPair } from "../device.ts";
import type { Case } from "../harness.ts";
import { expectExit, lastJson, vfiokit, wholeJson, type Window } from "../programs.ts";

interface Probed {
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

async function probed(words: readonly string[], code = 0): Promise<Probed> {
  return wholeJson<Probed>(await expectExit(code, [...vfiokit(), "probe", ...words, "--json"]));
}

const migratable: readonly Case[] = TYPES.map((type) => ({
  name: `probe: ${type}: the device can be migrated, and its pages are tracked`,
  run: () =>
    withPair(type, {}, async ({ uuid }) => {
      const { regions, dirty, ...rest } = await probed([uuid]);
      assert.deepEqual(
        [rest.migratable, rest.protocol, rest.dataSection, rest.reasons],
        [true, "v1", type, []],
      );
      assert.deepEqual(dirty, { tracks: true, pgsizes: [4096], maxBitmapBytes: 1 << 28 });
      const region = regions.find(({ index }) => index === 9);
      assert.deepEqual(region?.type, { type: 3, subtype: 1 });
      assert.equal(region?.sparse?.length ?? null, AREAS[type]);
    }),
}));

const others: readonly Case[] = [
  {
    name: "probe: --no-open reads sysfs alone",
    run: () =>
      withPair("trapped", {}, async ({ uuid }) => {
        assert.equal((await probed([uuid, "--no-open"])).protocol, null);
      }),
  },
  {
    name: "probe: a device that is not there is exit 3, with the reason",
    run: async () => {
      const gone = "00000000-0000-4000-8000-000000000000";
      assert.equal((await probed([gone], 3)).reasons.length, 1);
    },
  },
  {
    name: "state: a state that was asked for is there while the program runs",
    run: () =>
      withPair("trapped", {}, async ({ uuid }) => {
        const reached = { "pre-copy": 3, "resuming": 4 };
        for (const [name, bits] of Object.entries(reached)) {
          const words = [...vfiokit(), "state", uuid, name, "--quiet", "--", "window"];
          const window = lastJson<Window>(await expectExit(0, words));
          assert.equal(window.deviceState, bits, name);
        }
        const { state, raw } = wholeJson<{ state: string; raw: number }>(
          await expectExit(0, [...vfiokit(), "state", uuid, "--json"]),
        );
        assert.equal(state, "running");
        // The reserved bits are shown as they are, without a sign.
        assert.ok(raw > 2 ** 31 && (raw & 7) === 1);
      }),
  },
  {
    name: "reset: a device held in resuming is running again",
    run: async () => {
      const device = new GuestDevice("trapped");
      try {
        const inner = [...vfiokit(), "reset", "fd:3", "--quiet"].join(" ");
        const outer = [...vfiokit(), "state", device.uuid, "resuming", "--quiet", "--"];
        const ended = await expectExit(0, [...outer, "sh", "-c", `${inner} && window`]);
        assert.equal(lastJson<Window>(ended).deviceState, 1);
        assert.deepEqual(device.violations, []);
      } finally {
        device.remove();
      }
    },
  },
];

/** The cases. */
export const cases: readonly Case[] = [...migratable, ...others];
