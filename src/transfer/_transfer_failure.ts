/**
 * What a save or restore throws, from what stopped it.
 */

import { type Hint, hintOf, VfiokitError } from "../base/vfiokit_error.ts";
import { CheckpointError } from "../checkpoint/checkpoint_error.ts";
import { DeviceClosedError } from "../migration/closed_error.ts";
import { MigrationError } from "../migration/migration_error.ts";
import { describeRecovery, type Recovery } from "../vfio/state/recovery.ts";
import { hintAfter } from "../migration/protocol/reset.ts";
import type { NoteWatch } from "../migration/notes/note_book.ts";
import type { Device } from "../migration/device.ts";
import type { StateName } from "../vfio/state/states.ts";
import { UnsupportedError } from "../vfio/reasons/unsupported_error.ts";
import { IdentityError } from "./identity/identity_error.ts";
import { type DeviceOutcome, TransferError, type TransferErrorCode } from "./transfer_error.ts";

/** How a device was left. */
export interface FinalState {
  /** Its state; null if it has none to tell. */
  readonly state: StateName | null;
  /** What was done about it. */
  readonly recovery: Recovery;
}

/** A device, what went wrong with it, and how it was left. */
interface FailedDevice {
  readonly device: Device;
  readonly number: number;
  readonly notes: NoteWatch;
  readonly error: Error | null;
}

/** What stopped a save or a restore. */
export interface StepFailure {
  /** What could not be done. */
  readonly what: string;
  /** What failed first. */
  readonly cause: unknown;
  /** Whether that was the caller's signal. */
  readonly interrupted: boolean;
  /** Whether the work itself was done, and what failed is what comes after it. */
  readonly afterwards?: boolean | undefined;
  /** What to do next, where that does not follow from how the devices were left. */
  readonly hint?: Hint | null | undefined;
}

/** Makes the error, of the devices and how each was left. */
export function transferError(
  failure: StepFailure,
  members: readonly FailedDevice[],
  left: readonly FinalState[],
): TransferError {
  const { cause, interrupted } = failure;
  const devices = members.map(({ device: { name }, notes, error }, index): DeviceOutcome => ({
    name,
    ...left[index]!,
    notes: notes.list(),
    error: settled(error, left[index]!, notes),
  }));
  const first = members.findIndex(({ error }) => error !== null && error === cause);
  const shown = first < 0 ? cause : devices[first]!.error;
  const [only, ...others] = devices;
  const one = others.length === 0 ? only! : null;
  const words = one === null
    ? wordsOfSeveral(failure, members, left)
    : wordsOfOne(failure, shown, one);
  const { code, errno } = cause as Error & Readonly<Record<string, unknown>>;
  const hint = one === null ? hintOfSeveral(cause, left) : hintOfOne(shown, one, interrupted);
  return new TransferError(words, {
    code: interrupted ? "cancelled" : codeOf(cause),
    devices,
    errno: typeof errno === "string" ? errno : isErrnoName(code) ? code : undefined,
    hint: failure.hint === undefined ? hint : failure.hint,
  }, { cause: shown });
}

/** What went wrong with a device, and how it was left in the end: more may have been done since. */
function settled(
  error: Error | null,
  { state, recovery }: FinalState,
  notes: NoteWatch,
): Error | null {
  if (!(error instanceof MigrationError)) return error;
  error.notes = notes.list();
  if (state === null || (error.recovery === recovery && error.deviceState === state)) return error;
  const after = new MigrationError(`${reason(error)}; ${describeRecovery(recovery, state)}`, {
    code: error.code,
    deviceState: state,
    recovery,
    errno: error.errno,
    hint: error.deviceState === "running" ? error.hint : hintAfter(recovery, state, error.errno),
  }, { cause: error.cause });
  after.notes = error.notes;
  return after;
}

/** Whether an error says all there is to say of the only device. */
function isWhole(error: unknown): error is Error {
  return error instanceof MigrationError || error instanceof IdentityError ||
    error instanceof UnsupportedError || error instanceof DeviceClosedError;
}

function wordsOfOne(
  { what, interrupted, afterwards }: StepFailure,
  cause: unknown,
  { state, recovery }: FinalState,
): string {
  if (isWhole(cause)) return afterwards ? `${what}: ${cause.message}` : cause.message;
  const untouched = recovery === "none" && state === "running";
  const now = state === null
    ? []
    : [untouched ? "the device is running" : describeRecovery(recovery, state)];
  if (interrupted) return [`${what}: interrupted`, ...now].join("; ");
  const { message } = cause as Error;
  if (cause instanceof CheckpointError) return [message, ...(untouched ? [] : now)].join("; ");
  return [`${what}: ${message}`, ...now].join("; ");
}

function wordsOfSeveral(
  { what, cause, interrupted }: StepFailure,
  members: readonly FailedDevice[],
  left: readonly FinalState[],
): string {
  const first = members.find(({ error }) => error === cause);
  const others = members.filter((member) => member.error !== null && member !== first);
  const why = interrupted ? "interrupted" : `${first ? `${called(first)}: ` : ""}${reason(cause)}`;
  const also = others.map((member) => `${called(member)}: ${reason(member.error)}`);
  return `${what}: ${[why, ...also, ...states(members, left)].join("; ")}`;
}

/** How each device was left, in words; in one where it is the same of all. */
function states(members: readonly FailedDevice[], left: readonly FinalState[]): string[] {
  const [first] = left;
  const same = left.every(({ state, recovery }) =>
    state === first?.state && recovery === first.recovery
  );
  if (same && members.length > 1 && first?.state === "running") {
    switch (first.recovery) {
      case "none":
        return ["all of them are running"];
      case "running":
        return ["all of them are running again"];
      case "reset":
        return ["all of them were reset and are running, their former states are lost"];
    }
  }
  return members.flatMap((member, index) => {
    const { state, recovery } = left[index]!;
    if (state === null) return [];
    const who = called(member);
    const untouched = recovery === "none" && state === "running";
    return [untouched ? `${who} is running` : describeRecovery(recovery, state, who)];
  });
}

function hintOfOne(
  cause: unknown,
  { state, recovery }: FinalState,
  interrupted: boolean,
): Hint | null {
  if (isWhole(cause)) return hintOf(cause);
  return (state === null ? null : hintAfter(recovery, state)) ??
    (interrupted ? null : hintOf(cause));
}

function hintOfSeveral(cause: unknown, left: readonly FinalState[]): Hint | null {
  const ignored = left.find(({ recovery }) => recovery === "ignored");
  if (ignored !== undefined) return hintAfter("ignored", ignored.state ?? "unknown");
  if (left.some(({ state }) => state !== "running" && state !== null)) {
    return { text: "bring what does not run to RUNNING by a reset", remedy: "reset" };
  }
  // What a device's own error advises may be done by now.
  if (cause instanceof MigrationError && cause.deviceState !== "running") return null;
  return hintOf(cause);
}

/** How to call a device: names may be the same, for simulated ones. */
function called({ device: { name }, number }: FailedDevice): string {
  return `device ${number} (${name})`;
}

/** What an error says, without what was done at once: that is reported for all devices afterwards. */
function reason(error: unknown): string {
  if (error instanceof IdentityError) return error.problem;
  return error instanceof MigrationError ? error.failure : (error as Error).message;
}

function isErrnoName(code: unknown): code is string {
  return typeof code === "string" && /^(E[A-Z0-9]+|errno \d+)$/.test(code);
}

function codeOf(cause: unknown): TransferErrorCode {
  const code = cause instanceof VfiokitError ? cause.code : null;
  return code === null || isErrnoName(code) ? "io" : code as TransferErrorCode;
}
