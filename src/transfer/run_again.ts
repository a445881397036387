/**
 * The step after a save: all is written, and the devices run again.
 */

import type { Device } from "../migration/device.ts";
import { MigrationError } from "../migration/migration_error.ts";
import type { StateReport, TargetState } from "../vfio/state/states.ts";
import { reportNow } from "./_state_now.ts";
import type { Lockstep } from "./lockstep.ts";

/** All is written: from here on no device is brought back for another's sake. */
export async function runAgain(lockstep: Lockstep): Promise<void> {
  await lockstep.lastStep(({ device }) => setStateWithRetry(device, "running-p2p"), lockstep.p2p);
  const able = lockstep.members.filter(({ error }) => error === null);
  await lockstep.lastStep(({ device }) => setStateWithRetry(device, "running"), able);
}

/** Asks a saved device for a state on its way back; a refusal leaves it as it is, so once more. */
async function setStateWithRetry(device: Device, target: TargetState): Promise<StateReport> {
  try {
    return await device.setState(target);
  } catch (error) {
    if (!(error instanceof MigrationError)) throw error;
    // Its state could not be read for once; then its arcs led it back.
    if (error.recovery === "running") return await reportNow(device);
    if (error.recovery !== "none" || error.lost) throw error;
    return await device.setState(target);
  }
}
