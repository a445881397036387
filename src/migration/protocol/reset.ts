/**
 * The reset of a device: tried for a while and checked afterwards. If the driver accepts it and
 * does nothing, the device is closed and opened again; so it is if the reset is refused, where the
 * last close is known to do more.
 */

import { type Hint, toHint } from "../../base/vfiokit_error.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import { sleepSync } from "../../kernel/process/sleep_sync.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";
import type { OnError } from "./engine.ts";
import { MigrationError } from "../migration_error.ts";
import type { Recovery } from "../../vfio/state/recovery.ts";
import type { StateName } from "../../vfio/state/states.ts";

/** How long to wait for a device whose lock is held (EAGAIN), in milliseconds. */
const PATIENCE_MS = 2000;

/** The longest pause between two attempts, in milliseconds: as long as Ctrl-C may wait. */
const LONGEST_PAUSE_MS = 64;

/** The hint for a device that a reset does not help. */
const REOPEN = "a reset does not help: close the device wherever it is open, and open it " +
  "again; if that does not help either, unbind its driver and bind it again";

const GONE = "the device is gone; once it is back, open it again: it begins anew";

/**
 * The hint for the state in which a recovery left a device; none if it runs.
 *
 * @param errno What failed first: of a device that is gone, nothing can be reset.
 */
export function hintAfter(
  recovery: Recovery,
  state: StateName,
  errno?: string,
): Hint | null {
  if (recovery === "ignored") return toHint(REOPEN);
  if (state === "unknown" && (errno === "ENODEV" || errno === "ENXIO")) return toHint(GONE);
  return state === "running" ? null : { text: "bring it to RUNNING by a reset", remedy: "reset" };
}

/**
 * VFIO_DEVICE_RESET. Linux answers EAGAIN if the device's lock is held for a moment
 * (pci_try_reset_function): the call is repeated for about two seconds, unless `givesUp`.
 *
 * @throws {SysError} If the driver refuses.
 */
export function resetPatiently(device: VfioDevice, givesUp: () => boolean): void {
  const until = performance.now() + PATIENCE_MS;
  for (let pause = 2;; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      return device.reset();
    } catch (error) {
      if (!isErrno(error, "EAGAIN") || performance.now() >= until || givesUp()) throw error;
    }
    sleepSync(pause);
  }
}

/** What a reset needs from a protocol's state machine. */
export interface ResetTarget {
  /** The device. */
  readonly device: VfioDevice;
  /** The name of a state in a message. */
  readonly spell: (state: StateName) => string;
  /** Reads the state, after any step that the driver needs first. */
  readonly stateAfter: () => StateName;
  /** Releases everything that keeps the device's file open: mappings, data fds. */
  readonly releaseResources: () => void;
}

/**
 * Resets a device and reads back RUNNING. A driver that accepts the reset and ignores it forgets
 * its state when it is closed: that comes last, if it affects nothing else.
 *
 * @returns How it was brought back.
 * @throws {MigrationError} If it is not RUNNING after that.
 */
export function resetDevice(
  { device, spell, stateAfter, releaseResources }: ResetTarget,
  givesUp: () => boolean,
): "reset" | "reopened" {
  const stateNow = (): StateName => {
    const state = stateAfter();
    return state === "unknown" ? stateAfter() : state;
  };
  try {
    resetPatiently(device, givesUp);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const state = stateNow();
    if (state !== "running" && device.kernel.lastCloseResets === true && device.reopenable) {
      return reopen(`the reset was refused (${error.code})`);
    }
    const recovery = state === "running" ? "none" : "failed";
    throw lost(`${error.code}, and it is in ${spell(state)}`, state, recovery, error);
  }
  const state = stateNow();
  if (state === "running") return "reset";
  if (state === "unknown") {
    throw lost("the reset was accepted, and the state cannot be read", state, "failed");
  }
  const stayed = `the reset was accepted, and the driver stayed in ${spell(state)}`;
  device.notes.add("reset-ignored", () => stayed);
  if (!device.reopenable) throw lost(stayed, state, "ignored");
  return reopen(stayed);

  function reopen(after: string): "reopened" {
    releaseResources();
    try {
      device.reopen();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const why = `${after}; it was closed, and cannot be opened again: ${error.message}`;
      throw lost(why, "unknown", "failed", error);
    }
    const reopened = stateNow();
    if (reopened === "running") return "reopened";
    const still = `${after}; it was closed and opened again, and is in ${spell(reopened)}`;
    throw lost(still, reopened, "ignored");
  }
}

function lost(why: string, state: StateName, recovery: Recovery, cause?: Error): MigrationError {
  return new MigrationError(`Cannot reset the device: ${why}`, {
    code: recovery === "ignored" ? "reset-ignored" : "reset-failed",
    deviceState: state,
    recovery,
    errno: cause instanceof SysError ? cause.code : undefined,
    hint: recovery === "ignored" ? REOPEN : undefined,
  }, { cause });
}

/** The last step of a recovery if no arc leads back: a reset, unless the caller forbids it. */
export function resetAtLast(onError: OnError, reset: () => Recovery, notes: DriverNotes): Recovery {
  if (onError === "leave") return "none";
  try {
    return reset();
  } catch (error) {
    if (!(error instanceof MigrationError)) throw error;
    notes.add("reset-failed", () => error.message);
    // It may still run, with the state that it was given: that is no recovery.
    return error.recovery === "none" ? "failed" : error.recovery;
  }
}
