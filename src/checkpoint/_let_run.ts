/**
 * The step after a save: the checkpoint is in its place, and the device runs again.
 */

import type { NoteWatch } from "../migration/_note_book.ts";
import type { Device } from "../migration/device.ts";
import { MigrationError } from "../migration/error.ts";
import type { StateReport, TargetState } from "../migration/types.ts";

/** Asks a saved device for a state on its way back; a refusal leaves it as it is, so once more. */
export async function goBack(device: Device, target: TargetState): Promise<StateReport> {
  try {
    return await device.setState(target);
  } catch (error) {
    if (!(error instanceof MigrationError)) throw error;
    // Its state could not be read for once; then its arcs led it back.
    if (error.recovery === "running") return await device.state();
    if (error.recovery !== "none" || error.lost) throw error;
    return await device.setState(target);
  }
}

/**
 * Lets a saved device run again. Where the driver refuses the arc it is asked once more, and then
 * the device stays as it is: it has the only other copy of what was saved. In ERROR it has none.
 *
 * @throws {MigrationError} With the device's state.
 */
export async function letRun(device: Device, notes: NoteWatch): Promise<StateReport> {
  try {
    return await goBack(device, "running");
  } catch (error) {
    if (!(error instanceof MigrationError)) throw error;
    const what = "Cannot let the device run again, though the checkpoint is in its place";
    const { message, code, deviceState, recovery, errno } = error;
    const hint = error.lost ? error.hint : 'try again: "vfiokit state DEVICE running"';
    const failure = new MigrationError(`${what}: ${message}`, {
      code,
      deviceState,
      recovery,
      errno,
      hint,
    }, { cause: error });
    failure.notes = notes.list();
    throw failure;
  }
}
