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

const migratable: readonly Case[] = TYPES.map((type) => ({
  name: `probe: ${type}: the device can be migrated, and its pages are tracked`,
  run: () =>
    withPair(type, {}, async ({ uuid }) => {
      const ended = await expectExit(0, [...vfiokit(), "probe", uuid, "--json"]);
      const { regions, ...probed } = wholeJson<Probed>(ended);
      assert.deepEqual(
        [probed.migratable, probed.protocol, probed.dataSection, probed.reasons],
        [true, "v1", type, []],
      );
      assert.deepEqual(probed.dirty, { tracks: true, pgsizes: [4096], maxBitmapBytes: 1 << 28 });
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
        const words = [...vfiokit(), "probe", uuid, "--no-open", "--json"];
        assert.equal(wholeJson<Probed>(await expectExit(0, words)).protocol, null);
      }),
  },
  {
    name: "probe: a device that is not there is exit 3, with the reason",
    run: async () => {
      const gone = "00000000-0000-4000-8000-000000000000";
      const ended = await expectExit(3, [...vfiokit(), "probe", gone, "--json"]);
      assert.equal(wholeJson<Probed>(ended).reasons.length, 1);
    },
  },
  {
    name: "state: every state that can be reached from running is reached and shown",
    run: () =>
      withPair("trapped", {}, async ({ uuid }) => {
        const reached = { "stop": 0, "pre-copy": 3, "stop-and-copy": 2, "resuming": 4 };
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
