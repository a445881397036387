/**
 * The step after a save: all is written, and the devices run again.
 */

import type { Hint } from "../base/vfiokit_error.ts";
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

/** What to do if neither a file nor a running device has the state. */
export const ONLY_COPY: Hint = {
  text: "nothing but the stopped device has its state, and a reset would lose it: set it to " +
    "RUNNING, and save again",
  remedy: "set-running",
};

/** What to do if the file is there, and the device does not run. */
export const TRY_AGAIN: Hint = {
  text: "try again to set it to RUNNING",
  remedy: "set-running",
};

/** What cannot be done with devices that were saved and do not run; `missing` is why no file is there. */
export function whatCannotRun(devices: number, missing: Error | null): string {
  const which = devices === 1 ? "the device" : "all devices";
  const so = missing === null
    ? "though the checkpoint is in its place"
    : `and there is no checkpoint (${missing.message})`;
  return `Cannot let ${which} run again, ${so}`;
}
