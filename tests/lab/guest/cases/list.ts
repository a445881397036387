/**
 * The list of a real kernel's devices.
 *
 * @module
 */

import assert from "node:assert/strict";
import { listDevices, type ListedDevice } from "../../../../src/vfio/mod.ts";
import { withPair } from "../device.ts";
import type { Case } from "../harness.ts";
import { bun, expectExit, quoted, vfiokit } from "../programs.ts";

/** The cases. */
export const cases: readonly Case[] = [
  {
    name: "list: a device has its group, its node, and the processes that have it open",
    run: () =>
      withPair("trapped", {}, async (first, second) => {
        const inner = quoted([...vfiokit(bun), "list", "--json"]);
        const words = [...vfiokit(), "with", first.uuid, "--quiet", "--", "sh", "-c", inner];
        const { stdout } = await expectExit(0, words);
        const { devices }: { devices: readonly ListedDevice[] } = JSON.parse(stdout);
        const [held, idle] = [first, second].map(({ uuid }) =>
          devices.find(({ device }) => device === uuid)!
        );
        assert.equal(held!.bus, "mdev");
        assert.ok(held!.holders.length > 0, "the program that was lent it");
        assert.deepEqual(idle!.holders, []);
        for (const { group, node, groupDevices } of [held!, idle!]) {
          assert.ok(group !== null && node !== null);
          assert.deepEqual(groupDevices, []);
        }
        const { devices: after } = listDevices();
        assert.deepEqual(after.find(({ device }) => device === first.uuid)!.holders, []);
      }),
  },
];
