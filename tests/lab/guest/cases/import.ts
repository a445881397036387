/**
 * What a QEMU in the guest wrote to a file, made into checkpoints.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync, statSync, truncateSync } from "node:fs";
import { type DeviceType, type GuestDevice, lacks, withPair } from "../device.ts";
import type { Case } from "../harness.ts";
import {
  bun,
  deno,
  expectExit,
  lastJson,
  type Runtime,
  underWith,
  vfiokit,
  wholeJson,
  type Window,
} from "../programs.ts";
import { Qemu, type QemuSuite } from "../vmm.ts";

function pathOf({ uuid }: GuestDevice): string {
  return `/sys/bus/mdev/devices/${uuid}`;
}

/** A device's state in a file that QEMU wrote: restored into another device it has the same sum. */
function imported(type: DeviceType, suite: QemuSuite, runtime: Runtime): Case {
  return {
    name: `vmm: import: ${type}: the state in QEMU's file (${suite}) restores into another device`,
    lacks: () => lacks(type),
    run: (folder) =>
      withPair(type, { size: 512 << 10 }, async (first, second) => {
        const { crc } = await underWith(bun, first.uuid, ":");
        const file = `${folder}/guest`;
        {
          await using qemu = await Qemu.start({ suite, devices: [pathOf(first)], folder });
          await qemu.migrateTo(file);
        }
        const show = await expectExit(0, [...vfiokit(bun), "show", file, "--json"]);
        const { stream } = wholeJson<{ stream: { devices: { device: string; bytes: number }[] } }>(
          show,
        );
        assert.deepEqual(stream.devices.map(({ device }) => device), ["0000:00:05.0"]);
        const words = ["import", "qemu", file, "--like", second.uuid, "-o", `${folder}/device`];
        await expectExit(0, [...vfiokit(runtime), ...words, "--quiet"]);
        const restore = ["restore", second.uuid, `${folder}/device`, "--quiet", "--", "window"];
        const window = lastJson<Window>(await expectExit(0, [...vfiokit(runtime), ...restore]));
        assert.equal(window.crc, crc);
        assert.equal(window.violations, 0);
        truncateSync(file, Math.floor(statSync(file).size / 2));
        await expectExit(4, [...vfiokit(bun), "import", "qemu", file, "--list", "--quiet"]);
        assert.ok(readFileSync(file).length > 0);
      }),
  };
}

/** The cases. */
export const cases: readonly Case[] = [
  imported("trapped", "bookworm", deno),
  imported("v2-full", "trixie", deno),
  imported("v2", "trixie", bun),
];
