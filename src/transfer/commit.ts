/**
 * The last steps of a save, once the devices have their last state: what was
 * written is read back, and gets its place.
 */

import { cleanedUpAsync } from "../base/cleanup.ts";
import { type Hint, hintOf } from "../base/vfiokit_error.ts";
import type { ReadBack, ReadBackReport } from "../checkpoint/read_back.ts";
import { MigrationError } from "../migration/migration_error.ts";
import { type FinalState, transferError } from "./_transfer_failure.ts";
import type { Lockstep } from "./lockstep.ts";
import type { CheckpointSink } from "./sinks_and_sources.ts";
import type { DeviceTotals } from "../checkpoint/metadata/trailer.ts";
import type { TransferError } from "./transfer_error.ts";

/** What to do if neither a file nor a running device has the state. */
const ONLY_COPY: Hint = {
  text: "nothing but the stopped device has its state, and a reset would lose it: set it to " +
    "RUNNING, and save again",
  remedy: "set-running",
};

/** What to do if the file is there, and the device does not run. */
const TRY_AGAIN: Hint = {
  text: "try again to set it to RUNNING",
  remedy: "set-running",
};

/** What became of a checkpoint. */
export interface CommitResult {
  /** Why it is not in its place; null if it is. */
  readonly error: Error | null;
  /** Whether it was read back. */
  readonly readBack: ReadBackReport;
}

/** A checkpoint that was put in its place without being read back. */
export function committedUnread(sink: CheckpointSink): CommitResult {
  const reason = sink.readBack === undefined ? "not-a-file" : "not-wanted";
  return { error: null, readBack: { done: false, seconds: null, reason } };
}

/** Reads a checkpoint back and puts it in its place; if either fails, no file is left. */
export async function commit(
  sink: CheckpointSink,
  readBack: ReadBack,
  moved: readonly DeviceTotals[],
  signal: AbortSignal | undefined,
): Promise<CommitResult> {
  try {
    await readBack.run(moved, signal);
    await sink.commit();
    return { error: null, readBack: readBack.report };
  } catch (error) {
    const first = await cleanedUpAsync(error, () => sink.abort());
    return { error: first as Error, readBack: readBack.report };
  }
}

/** Throws if a device does not run again, or the checkpoint is not in its place. */
export async function demandCommitted(
  lockstep: Lockstep,
  { error: missing }: CommitResult,
): Promise<void> {
  const refusal = lockstep.members.find(({ error }) => error !== null)?.error;
  if (refusal) {
    const alone = lockstep.members.length === 1;
    const lost = refusal instanceof MigrationError && refusal.lost;
    const hint = missing !== null ? ONLY_COPY : alone ? TRY_AGAIN : undefined;
    const what = whatCannotRun(lockstep.members.length, missing);
    throw await failureAfterSave(lockstep, what, refusal, alone && lost ? refusal.hint : hint);
  }
  if (missing !== null) {
    throw await failureAfterSave(lockstep, `Cannot ${lockstep.what}`, missing, hintOf(missing));
  }
}

/** What cannot be done with devices that were saved and do not run; `missing` is why no file is there. */
function whatCannotRun(devices: number, missing: Error | null): string {
  const which = devices === 1 ? "the device" : "all devices";
  const so = missing === null
    ? "though the checkpoint is in its place"
    : `and there is no checkpoint (${missing.message})`;
  return `Cannot let ${which} run again, ${so}`;
}

/**
 * The error for what could not be done any more, with the devices left as they are. Where it has a
 * hint, none is added about devices that do not run: that may be intended.
 */
async function failureAfterSave(
  lockstep: Lockstep,
  what: string,
  cause: Error,
  hint: Hint | null | undefined,
): Promise<TransferError> {
  const states = await lockstep.states();
  const left = lockstep.members.map(({ error }, index): FinalState => ({
    state: states[index]!.state,
    recovery: error instanceof MigrationError ? error.recovery : "none",
  }));
  const failure = { what, cause, interrupted: false, afterwards: true, hint };
  return transferError(failure, lockstep.members, left);
}
