/**
 * The driver itself, with the C client alone: what the other cases stand on.
 *
 * @module
 */

import assert from "node:assert/strict";
import { TYPES, withPair } from "../device.ts";
import { type Case, eachKernel } from "../harness.ts";
import { client } from "../programs.ts";

const misuse: readonly Case[] = TYPES.map((type) => ({
  name: `driver: ${type}: every misuse of the protocol is counted`,
  run: () =>
    withPair(type, {}, async (device) => {
      const { violations } = await client("misuse", device.uuid);
      assert.ok(violations > 10);
      assert.equal(device.violations.length, violations);
      device.forgetViolations();
    }),
}));

const roundTrips: readonly Case[] = TYPES.map((type) => ({
  name: `driver: ${type}: the C client's save and restore leave equal states`,
  run: (folder) =>
    withPair(type, {}, async (first, second) => {
      first.set({ rate: 64 << 20 });
      const saved = await client("save-precopy", first.uuid, `${folder}/state`);
      const restored = await client("restore", second.uuid, `${folder}/state`);
      assert.ok(saved.changedPages > 0);
      assert.equal(restored.crc, saved.crc);
      assert.deepEqual(
        [restored.bytes, restored.transactions],
        [saved.bytes, saved.transactions],
      );
    }),
}));

/** The cases. */
export const cases: readonly Case[] = eachKernel([...misuse, ...roundTrips]);
