/**
 * The step after a save: all is written, and the device runs again.
 */

import type { Hint } from "../base/vfiokit_error.ts";
import type { NoteWatch } from "../migration/notes/note_book.ts";
import type { Device } from "../migration/device.ts";
import { MigrationError } from "../migration/migration_error.ts";
import type { StateReport, TargetState } from "../vfio/state/states.ts";
import { reportNow } from "./_state_now.ts";

/** Asks a saved device for a state on its way back; a refusal leaves it as it is, so once more. */
export async function setStateWithRetry(device: Device, target: TargetState): Promise<StateReport> {
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

/**
 * The last step of a saved device: it runs again, or stays as it is. Where the driver refuses the
 * arc it is asked once more, and then the device stays: it has the only other copy of what was
 * saved. In ERROR it has none.
 *
 * @returns Its state, or why it is not that: what was written must be kept all the same.
 */
export async function finalState(
  device: Device,
  leave: "running" | "stopped",
): Promise<StateReport | Error> {
  try {
    return leave === "running"
      ? await setStateWithRetry(device, "running")
      : await reportNow(device);
  } catch (error) {
    return error as Error;
  }
}

/** What to do where neither a file nor a running device has the state. */
export const ONLY_COPY: Hint = {
  text: "nothing but the stopped device has its state, and a reset would lose it: set it to " +
    "RUNNING, and save again",
  remedy: "set-running",
};

/** What cannot be done with devices that were saved and do not run; `missing` is why no file is there. */
export function whatCannotRun(which: string, missing: Error | null): string {
  const so = missing === null
    ? "though the checkpoint is in its place"
    : `and there is no checkpoint (${missing.message})`;
  return `Cannot let ${which} run again, ${so}`;
}

/** The error for a device that was saved and does not run; `missing` is why no file is there. */
export function cannotRun(error: Error, missing: Error | null, notes: NoteWatch): Error {
  if (!(error instanceof MigrationError)) return error;
  const { message, code, deviceState, recovery, errno } = error;
  const again: Hint = { text: "try again to set it to RUNNING", remedy: "set-running" };
  const hint = error.lost ? error.hint : missing === null ? again : ONLY_COPY;
  const failure = new MigrationError(
    `${whatCannotRun("the device", missing)}: ${message}`,
    { code, deviceState, recovery, errno, hint },
    { cause: error },
  );
  failure.notes = notes.list();
  return failure;
}
