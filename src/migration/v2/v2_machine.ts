/**
 * The v2 state machine: VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, hop by hop, and
 * the data fd that comes with a state.
 */

import { isErrno, SysError } from "../../kernel/sys_error.ts";
import {
  VFIO_DEVICE_STATE_ERROR,
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_MIGRATION_P2P,
  vfioDeviceFeatureMigDataSize,
  vfioDeviceFeatureMigState,
} from "../../uapi/mod.ts";
import { Fd } from "../../kernel/fd.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import {
  getFeature,
  MIG_DATA_SIZE,
  MIG_DEVICE_STATE,
  MIG_PRECOPY_INFO_V2,
  probeFeature,
  setFeature,
  triggerFeature,
} from "../../vfio/device/feature.ts";
import type { Counters, OnError, RecoveryMode } from "../protocol/engine.ts";
import { demandStateIn } from "../protocol/recovery.ts";
import { resetAtLast, resetDevice } from "../protocol/reset.ts";
import type { V2DataFd } from "./v2_data_fd.ts";
import { knownState, readBack } from "../protocol/state_read_back.ts";
import { noteUnreadable, Refusals } from "../notes/state_notes.ts";
import { lacksFor, planPath } from "../../vfio/state/v2_plan.ts";
import { MigrationError, stepError } from "../migration_error.ts";
import type { Recovery } from "../../vfio/state/recovery.ts";
import type { StateName, StateReport, TargetState, V2StateName } from "../../vfio/state/states.ts";

type V2Report = Extract<StateReport, { protocol: "v2" }>;

/** The states that can be requested from a v2 device. */
export type V2Target = Exclude<V2StateName, "error">;

const NUMBERS: Readonly<Record<V2StateName, number>> = {
  "error": VFIO_DEVICE_STATE_ERROR,
  "stop": VFIO_DEVICE_STATE_STOP,
  "running": VFIO_DEVICE_STATE_RUNNING,
  "stop-copy": VFIO_DEVICE_STATE_STOP_COPY,
  "resuming": VFIO_DEVICE_STATE_RESUMING,
  "running-p2p": VFIO_DEVICE_STATE_RUNNING_P2P,
  "pre-copy": VFIO_DEVICE_STATE_PRE_COPY,
  "pre-copy-p2p": VFIO_DEVICE_STATE_PRE_COPY_P2P,
};

const NAMES: readonly V2StateName[] = (Object.keys(NUMBERS) as V2StateName[])
  .sort((a, b) => NUMBERS[a] - NUMBERS[b]);

/** States with a data fd; leaving them ends it. */
const WITH_DATA: readonly V2StateName[] = ["stop-copy", "resuming", "pre-copy", "pre-copy-p2p"];

/**
 * The v2 name for a target; `stop-and-copy`, v1's name, is STOP_COPY. Null if v2 has no such state.
 */
export function v2Target(target: TargetState): V2Target | null {
  if (target === "stop-and-copy") return "stop-copy";
  return Object.hasOwn(NUMBERS, target) ? target as V2Target : null;
}

/** The steps that return an fd, by the state that they lead to. */
const BEGINS_SESSION: Readonly<Partial<Record<V2StateName, readonly StateName[]>>> = {
  "pre-copy": ["running"],
  "pre-copy-p2p": ["running-p2p", "running"],
  "stop-copy": ["stop"],
  "resuming": ["stop"],
};

/** What a v2 state machine works with. */
export interface V2MachineParts {
  /** The device. */
  readonly device: VfioDevice;
  /** The device's VFIO_MIGRATION_* flags. */
  readonly flags: number;
  /** The data fd of the present state. */
  readonly data: V2DataFd;
  /** What is done after a failure, unless a call says otherwise. */
  readonly onError: OnError;
  /** The progress that the caller's thread sees. */
  readonly counters: Counters;
}

/** Drives MIG_DEVICE_STATE and keeps the data fd. */
export class V2Machine {
  readonly #device: VfioDevice;
  readonly #flags: number;
  readonly #onError: OnError;
  readonly #counters: Counters;
  readonly #data: V2DataFd;
  readonly #refusals: Refusals;
  #tellsReinit = false;

  constructor({ device, flags, data, onError, counters }: V2MachineParts) {
    this.#device = device;
    this.#flags = flags;
    this.#data = data;
    this.#onError = onError;
    this.#counters = counters;
    this.#refusals = new Refusals(device.notes);
  }

  /** Reads the state from the kernel; `unknown` if it cannot be read. */
  state(): V2Report {
    const { notes } = this.#device;
    let raw: number | null = null;
    try {
      const answer = getFeature(this.#device, MIG_DEVICE_STATE, vfioDeviceFeatureMigState);
      raw = answer.device_state;
      const { data_fd } = answer;
      if (data_fd !== -1) notes.add("get-data-fd", () => `a GET answered data_fd ${data_fd}`);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      noteUnreadable(notes, error);
    }
    if (raw !== null && NAMES[raw] === undefined) {
      notes.add("state-undefined", () => `the state was ${raw}`);
    }
    const state = raw === null ? "unknown" : NAMES[raw] ?? "unknown";
    this.#counters.state = state;
    return { protocol: "v2", state, raw };
  }

  /** Whether the driver itself sets the flags of the precopy info. */
  get tellsReinit(): boolean {
    return this.#tellsReinit;
  }

  /**
   * Enables that; drivers before Linux 7.1 do not know it, and echo the flags that they receive.
   */
  askForReinit(): void {
    this.#tellsReinit = false;
    if (probeFeature(this.#device, MIG_PRECOPY_INFO_V2, "set") !== null) return;
    try {
      triggerFeature(this.#device, MIG_PRECOPY_INFO_V2);
      this.#tellsReinit = true;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const { message } = error;
      this.#device.notes.add("precopy-opt-in-refused", () => message);
    }
  }

  /** Estimate of the bytes that STOP_COPY will give; 0 or null if the driver has none. */
  dataSize(): number | null {
    try {
      const answer = getFeature(this.#device, MIG_DATA_SIZE, vfioDeviceFeatureMigDataSize);
      return Number(answer.stop_copy_length);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const { message } = error;
      // Kernels without that feature answer one of these.
      if (!isErrno(error, "ENOTTY", "EINVAL")) {
        this.#device.notes.add("mig-data-size-failed", () => message);
      }
      return null;
    }
  }

  /**
   * Goes to a state, one hop at a time, along the kernel's own path.
   *
   * @throws {MigrationError} If the device is in none of `from` or no path leads there, before the
   * kernel is called; or if a hop fails, with the state that was reached. Does not recover.
   */
  transition(target: V2Target, from?: readonly StateName[]): V2Report {
    let now = this.state();
    if (now.raw === null) {
      throw stepError(
        `Cannot enter ${target}: the state cannot be read`,
        "unreadable",
        this.#counters.state,
      );
    }
    demandStateIn(target, now, from);
    const path = planPath(now.raw, NUMBERS[target], this.#flags);
    if (path === null) {
      const lacks = lacksFor(NUMBERS[target], this.#flags).join(" and ");
      const why = lacks === ""
        ? "no arc of this device leads there"
        : `the driver does not offer that state (${lacks})`;
      throw stepError(
        `Cannot go from ${now.state} to ${target}: ${why}`,
        "no-such-arc",
        this.#counters.state,
      );
    }
    for (const next of path) now = this.#hop(now, next, target);
    return now;
  }

  #hop(from: V2Report, next: number, target: V2Target): V2Report {
    const name = NAMES[next]!;
    let dataFd: number;
    try {
      const answer = setFeature(this.#device, MIG_DEVICE_STATE, vfioDeviceFeatureMigState, {
        device_state: next,
        data_fd: -1,
      });
      dataFd = answer.data_fd;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const now = this.state();
      const where = now.state === from.state
        ? `the device is still in ${now.state}`
        : `the device is now in ${now.state}`;
      const towards = name === target ? "" : ` (towards ${target})`;
      this.#refusals.refused(from.state, name, error);
      throw stepError(
        `Cannot go from ${from.state} to ${name}${towards}: ${error.code}, and ${where}`,
        "transition-refused",
        this.#counters.state,
        { cause: error },
      );
    }
    if (dataFd >= 0) this.#take(dataFd, from.state, name);
    if (!WITH_DATA.includes(name)) this.#data.close();
    const after = readBack(() => this.state(), from, name, this.#device.notes);
    if (after.state !== name) {
      throw stepError(
        `Cannot go from ${from.state} to ${name}: the driver took it, and ${
          after.raw === null ? "its state cannot be read" : `is in ${after.state}`
        }`,
        "transition-ignored",
        this.#counters.state,
      );
    }
    this.#refusals.taken(from.state, name);
    return after;
  }

  /** Takes the fd that a step returned. If none is due, the session keeps its present fd. */
  #take(dataFd: number, from: StateName, to: V2StateName): void {
    const due = BEGINS_SESSION[to]?.includes(from) ?? false;
    if (!due) {
      const { notes } = this.#device;
      notes.add("fd-not-due", () => `an fd came with the step from ${from} to ${to}`);
    }
    if (due || !this.#data.open) this.#data.adopt(dataFd, to);
    else Fd.own(this.#device.kernel, dataFd, "a data fd that was not due").close();
  }

  /**
   * Resets the device and reads back RUNNING. `givesUp` says whether to stop waiting for a device
   * that is not ready.
   *
   * @throws {MigrationError} If the reset fails or leaves another state: then the device is lost,
   * unless it is running nevertheless.
   */
  reset(givesUp: () => boolean): V2Report {
    this.#reset(givesUp);
    return this.state();
  }

  #reset(givesUp: () => boolean): "reset" | "reopened" {
    this.#data.close();
    return resetDevice({
      device: this.#device,
      spell: (state) => state,
      stateAfter: () => this.state().state,
      releaseResources: () => {},
    }, givesUp);
  }

  /**
   * Brings the device back to RUNNING by arcs, except from RESUMING (whose state is incomplete) and
   * ERROR, which only a reset leaves. With `running-p2p`, it stops in RUNNING_P2P, but not from
   * PRE_COPY, where the device runs fully and would have to step back.
   *
   * Never throws: a failure returns `failed`, and the state says the rest.
   */
  recover(mode: RecoveryMode = "running", onError: OnError = this.#onError): Recovery {
    if (mode !== "reset") {
      const led = this.#leadBack(mode);
      if (led !== null) return led;
    }
    // An abort is ignored here: the caller waits for this recovery.
    return resetAtLast(onError, () => this.#reset(() => false), this.#device.notes);
  }

  /** Follows the arcs; null if they do not lead back. */
  #leadBack(mode: "running" | "running-p2p"): "none" | "running" | null {
    const { state } = knownState(() => this.state());
    if (state === "running") {
      this.#data.close();
      return "none";
    }
    if (state === "resuming" || state === "error" || state === "unknown") return null;
    const halfway = mode === "running-p2p" && state !== "pre-copy" &&
      (this.#flags & VFIO_MIGRATION_P2P) !== 0;
    try {
      this.transition(halfway ? "running-p2p" : "running", [state]);
      return "running";
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      const { message } = error;
      this.#device.notes.add("recovery-refused", () => message);
    }
    // The arc was taken, but the state could not be read.
    const { state: now } = knownState(() => this.state());
    return now === "running" || halfway && now === "running-p2p" ? "running" : null;
  }
}
