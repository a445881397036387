/**
 * What a save or restore of several devices throws, from what stopped it.
 */

import { type Hint, hintOf } from "../base/vfiokit_error.ts";
import { MigrationError } from "../migration/migration_error.ts";
import { describeRecovery, type Recovery } from "../vfio/state/recovery.ts";
import { hintAfter } from "../migration/protocol/reset.ts";
import type { NoteWatch } from "../migration/notes/note_book.ts";
import type { Device } from "../migration/device.ts";
import type { StateName } from "../vfio/state/states.ts";
import { UnsupportedError } from "../vfio/reasons/unsupported_error.ts";
import { type DeviceOutcome, DevicesError } from "./devices_error.ts";
import { IdentityError } from "./identity/identity_error.ts";

/** How a device was left. */
export interface FinalState {
  /** Its state; null where it has none to tell. */
  readonly state: StateName | null;
  /** What was done about it. */
  readonly recovery: Recovery;
}

/** A device and what went wrong with it. */
interface FailedDevice {
  readonly device: Device;
  readonly number: number;
  readonly notes: NoteWatch;
  readonly error: Error | null;
}

/**
 * Makes the error; `what` is what could not be done, `cause` what failed first. The hint is made of
 * the devices' states, unless there is one already.
 */
export function devicesError(
  what: string,
  members: readonly FailedDevice[],
  left: readonly FinalState[],
  cause: unknown,
  interrupted: boolean,
  hint: Hint | null = hintFor(cause, left),
): DevicesError {
  const devices = members.map(({ device: { name }, notes, error }, index): DeviceOutcome => ({
    name,
    ...left[index]!,
    notes: notes.list(),
    error: settled(error, left[index]!),
  }));
  const first = members.find(({ error }) => error === cause);
  const others = members.filter((member) => member.error !== null && member !== first);
  const why = interrupted ? "interrupted" : `${first ? `${called(first)}: ` : ""}${reason(cause)}`;
  const also = others.map((member) => `${called(member)}: ${reason(member.error)}`);
  const now = states(members, left);
  const { code, errno } = cause as Error & Readonly<Record<string, unknown>>;
  return new DevicesError(`${what}: ${[why, ...also, ...now].join("; ")}`, {
    code: interrupted ? "cancelled" : codeOf(cause),
    devices,
    errno: typeof errno === "string" ? errno : isErrnoName(code) ? code : undefined,
    hint,
  }, { cause });
}

/** What went wrong with a device, and how it was left in the end: more may have been done since. */
function settled(error: Error | null, { state, recovery }: FinalState): Error | null {
  if (!(error instanceof MigrationError) || state === null) return error;
  if (error.recovery === recovery && error.deviceState === state) return error;
  return new MigrationError(`${reason(error)}; ${describeRecovery(recovery, state)}`, {
    code: error.code,
    deviceState: state,
    recovery,
    errno: error.errno,
    hint: error.deviceState === "running" ? error.hint : undefined,
  }, { cause: error.cause });
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

function hintFor(cause: unknown, left: readonly FinalState[]): Hint | null {
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

/** What an error says, without what was done at once: that is told of all devices afterwards. */
function reason(error: unknown): string {
  if (error instanceof IdentityError) return error.problem;
  return error instanceof MigrationError ? error.failure : (error as Error).message;
}

function isErrnoName(code: unknown): code is string {
  return typeof code === "string" && /^E[A-Z0-9]+$/.test(code);
}

function codeOf(cause: unknown): string {
  if (cause instanceof IdentityError) return "identity";
  if (cause instanceof UnsupportedError) return cause.reasons[0]?.code ?? "unsupported";
  const { code } = cause as { readonly code?: unknown };
  return typeof code === "string" && !isErrnoName(code) ? code : "io";
}
