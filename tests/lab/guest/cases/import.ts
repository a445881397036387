/**
 * What a QEMU in the guest wrote to a file, made into checkpoints.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync, statSync, truncateSync } from "node:fs";
import { type DeviceType, type GuestDevice, lacks, type Settings, withPair } from "../device.ts";
import type { Case } from "../harness.ts";
import { bun, expectExit, lastJson, underWith, vfiokit, type Window } from "../programs.ts";
import { readQemuStream } from "../../../../src/vmm/mod.ts";
import { Qemu, type QemuSuite } from "../vmm.ts";

function pathOf({ uuid }: GuestDevice): string {
  return `/sys/bus/mdev/devices/${uuid}`;
}

/** QEMU 7.2 drops the reserved bits of device_state, so the device has none. */
const V1 = { size: 128 << 10, reserved_bits: 0 } as const;

/** A device's state in a file that QEMU wrote: restored into another device it has the same sum. */
function imported(
  type: DeviceType,
  suite: QemuSuite,
  settings: Settings,
): Case {
  return {
    name: `vmm: import: ${type}: the state in QEMU's file (${suite}) restores into another device`,
    lacks: () => lacks(type),
    run: (folder) =>
      withPair(type, settings, async (first, second) => {
        const { crc } = await underWith(bun, first.uuid, ":");
        const file = `${folder}/guest`;
        {
          await using qemu = await Qemu.start({ suite, devices: [pathOf(first)], folder });
          await qemu.migrateTo(file);
        }
        // QEMU 7.2 writes some states again.
        if (suite === "bookworm") first.forgetViolations();
        const { devices } = await readQemuStream(ReadableStream.from([readFileSync(file)]));
        assert.deepEqual(devices.map(({ name }) => name), ["0000:00:05.0"]);
        const words = ["import", "qemu", file, "--like", second.uuid, "-o", `${folder}/device`];
        await expectExit(0, [...vfiokit(bun), ...words, "--quiet"]);
        const restore = ["restore", second.uuid, `${folder}/device`, "--quiet", "--", "window"];
        const window = lastJson<Window>(await expectExit(0, [...vfiokit(bun), ...restore]));
        assert.equal(window.crc, crc);
        assert.equal(window.violations, 0);
        truncateSync(file, Math.floor(statSync(file).size / 2));
        await expectExit(4, [...vfiokit(bun), "import", "qemu", file, "--list", "--quiet"]);
      }),
  };
}

/** The cases. */
export const cases: readonly Case[] = [
  imported("mapped", "bookworm", V1),
  imported("v2-full", "trixie", { size: 512 << 10 }),
];
