/**
 * What has to be known of devices before anything is connected or written.
 *
 * @module
 */

import type { Device } from "../migration/device.ts";
import { Lockstep } from "../transfer/lockstep.ts";

/**
 * Refuses devices of which one cannot migrate. {@linkcode migrate} and `CheckpointChain` do so
 * themselves; this is for those who would rather know before they connect.
 *
 * @param what What is to be done, for the message.
 * @throws {TransferError} If one cannot; its cause has the reasons. No device was touched.
 *
 * @example
 * ```ts
 * import { demandMigration } from "vfiokit/live";
 * import { openDevice } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * await using device = await openDevice("sim:none");
 * await assert.rejects(demandMigration([device], "migrate"), /has no migration region/);
 * ```
 */
export async function demandMigration(
  devices: readonly Device[],
  what: "migrate" | "checkpoint",
): Promise<void> {
  if (devices.every(canMigrate)) return;
  using lockstep = new Lockstep(what, devices);
  try {
    // Those that cannot migrate refuse this, with their reasons.
    await lockstep.look();
  } catch (error) {
    throw await lockstep.failure(error);
  }
}

/** Whether the driver speaks a protocol of migration. */
export function canMigrate({ description }: Device): boolean {
  return description.protocol !== null;
}
