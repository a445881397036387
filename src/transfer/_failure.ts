/**
 * What a save or restore throws, from what stopped it.
 */

import { addCleanup } from "../base/cleanup.ts";
import { hintOf } from "../base/vfiokit_error.ts";
import { errorCode } from "../checkpoint/file/file_error.ts";
import { hintAfter } from "../migration/protocol/reset.ts";
import { describeRecovery, type Recovery } from "../vfio/state/recovery.ts";
import type { NoteWatch } from "../migration/notes/note_book.ts";
import type { Device } from "../migration/device.ts";
import { DeviceClosedError } from "../migration/closed_error.ts";
import { MigrationError, type MigrationErrorInfo } from "../migration/migration_error.ts";
import type { StateName } from "../vfio/state/states.ts";
import { UnsupportedError } from "../vfio/reasons/unsupported_error.ts";
import { CheckpointError } from "../checkpoint/checkpoint_error.ts";
import { IdentityError } from "./identity/identity_error.ts";
import { ReadBackError } from "../checkpoint/read_back.ts";
import { stateNow } from "./_state_now.ts";

/** Brings the device back after an error. */
async function bringBack(
  device: Device,
  after: unknown,
): Promise<[Recovery, StateName] | DeviceClosedError> {
  try {
    const recovery = await device.recover();
    return [recovery, await stateNow(device)];
  } catch (error) {
    if (error instanceof DeviceClosedError) return error;
    addCleanup(after, error);
    return ["failed", "unknown"];
  }
}

/**
 * Brings the device back, and makes the error that tells what stopped the
 * work and what the device does now. Errors that tell it already stay as they are.
 */
export async function failed(
  what: string,
  device: Device,
  error: unknown,
  signal: AbortSignal | undefined,
  notes: NoteWatch,
): Promise<Error> {
  const failure = await recovered(what, device, error, signal);
  if (failure instanceof MigrationError || failure instanceof CheckpointError) {
    failure.notes = notes.list();
  }
  return failure;
}

async function recovered(
  what: string,
  device: Device,
  error: unknown,
  signal: AbortSignal | undefined,
): Promise<Error> {
  // The session has brought the device back, or could not; or nothing was touched.
  if (
    error instanceof MigrationError || error instanceof IdentityError ||
    error instanceof UnsupportedError || error instanceof DeviceClosedError
  ) return error;
  const back = await bringBack(device, error);
  if (back instanceof DeviceClosedError) return back;
  const [recovery, deviceState] = back;
  if (error instanceof CheckpointError) {
    // A device that runs, and that nothing had to be done about, was not touched.
    if (recovery !== "none" || deviceState !== "running") {
      error.message += `; ${describeRecovery(recovery, deviceState)}`;
      error.deviceState = deviceState;
      error.recovery = recovery;
    }
    return error;
  }
  const now = recovery === "none"
    ? describeState(deviceState)
    : describeRecovery(recovery, deviceState);
  if (signal?.aborted === true) {
    return new MigrationError(`Cannot ${what}: interrupted; ${now}`, {
      code: "cancelled",
      deviceState,
      recovery,
      hint: hintAfter(recovery, deviceState),
    }, { cause: error });
  }
  const told = toldBy(error as Error);
  return new MigrationError(`Cannot ${what}: ${(error as Error).message}; ${now}`, {
    ...told,
    hint: hintAfter(recovery, deviceState) ?? told.hint,
    deviceState,
    recovery,
  }, { cause: error });
}

/** The error for a checkpoint that was written and is not in its place; the device is not touched. */
export async function notKept(
  device: Device,
  error: Error,
  notes: NoteWatch,
): Promise<MigrationError> {
  // A device whose thread has ended, or that was closed, is not known any more.
  const deviceState = await stateNow(device).catch((): StateName => "unknown");
  const { code, errno, hint } = toldBy(error);
  const failure = new MigrationError(
    `Cannot save the device: ${error.message}; ${describeState(deviceState)}`,
    { code, deviceState, recovery: "none", errno, hint },
    { cause: error },
  );
  failure.notes = notes.list();
  return failure;
}

function describeState(state: StateName): string {
  return state === "running" ? "the device is running" : describeRecovery("none", state);
}

/** What an error of a file, or of reading it back, tells beside its message. */
function toldBy(
  error: Error,
): Pick<MigrationErrorInfo, "code" | "errno" | "hint"> {
  if (error instanceof ReadBackError) return error;
  return { code: "io", errno: errorCode(error) ?? undefined, hint: hintOf(error) };
}
