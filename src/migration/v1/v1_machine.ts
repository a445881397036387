/**
 * The v1 state machine: device_state's arcs, and recovery after a failure.
 */

import { SysError } from "../../kernel/sys_error.ts";
import {
  VFIO_DEVICE_STATE_MASK,
  VFIO_DEVICE_STATE_V1_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_V1_RUNNING as RUNNING,
  VFIO_DEVICE_STATE_V1_SAVING as SAVING,
  VFIO_DEVICE_STATE_V1_STOP as STOP,
} from "../../uapi/mod.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import type { Counters, OnError, RecoveryMode } from "../protocol/engine.ts";
import { demandStateIn } from "../protocol/recovery.ts";
import { knownState, readBack } from "../protocol/state_read_back.ts";
import { resetAtLast, resetDevice } from "../protocol/reset.ts";
import { noteUnreadable, Refusals } from "../notes/state_notes.ts";
import type { V1Quirk } from "./v1_quirks.ts";
import type { V1Registers } from "./v1_registers.ts";
import { MigrationError, stepError } from "../migration_error.ts";
import type { Recovery } from "../../vfio/state/recovery.ts";
import type { StateName, StateReport, TargetState, V1StateName } from "../../vfio/state/states.ts";

type V1Report = Extract<StateReport, { protocol: "v1" }>;

/** The states that can be requested from a v1 device. */
export type V1Target = Exclude<V1StateName, "error" | "invalid">;

/** The low three bits of device_state, by the state's name. */
const BITS: Readonly<Record<V1Target, number>> = {
  "stop": STOP,
  "running": RUNNING,
  "stop-and-copy": SAVING,
  "pre-copy": SAVING | RUNNING,
  "resuming": RESUMING,
};

/** Whether v1 has a state of this name that can be requested. */
export function isV1Target(target: TargetState): target is V1Target {
  return Object.hasOwn(BITS, target);
}

/**
 * The arcs: those that linux/vfio.h of Linux 5.8 draws ("State transitions"), and from STOP to
 * RUNNING. A driver may treat any other write as a violation.
 */
const ARCS: Readonly<Record<V1Target, readonly V1Target[]>> = {
  "stop": ["running"],
  "running": ["stop", "stop-and-copy", "pre-copy", "resuming"],
  "stop-and-copy": ["running", "stop"],
  "pre-copy": ["running", "stop-and-copy"],
  "resuming": ["running"],
};

const NAMES: readonly V1StateName[] = [
  "stop",
  "running",
  "stop-and-copy",
  "pre-copy",
  "resuming",
  "invalid",
  "error",
  "invalid",
];

/** Whether a state has arcs. */
function hasArcs(state: StateName): state is V1Target {
  return Object.hasOwn(BITS, state);
}

/** The name of a state in a message: `pre-copy (011b)`. */
function spell(state: V1StateName | "unknown"): string {
  const bits = state === "unknown" ? -1 : NAMES.indexOf(state);
  return bits < 0 || state === "invalid"
    ? state
    : `${state} (${bits.toString(2).padStart(3, "0")}b)`;
}

/** What a v1 state machine works with. */
export interface V1MachineParts {
  /** The migration region's registers. */
  readonly registers: V1Registers;
  /** The device. */
  readonly device: VfioDevice;
  /** What is different with this driver. */
  readonly quirk: V1Quirk;
  /** What is done after a failure, unless a call says otherwise. */
  readonly onError: OnError;
  /** The progress that the caller's thread sees. */
  readonly counters: Counters;
  /** Unmaps the device's mapped areas. */
  readonly releaseResources: () => void;
}

/** Drives device_state; nothing else writes it. */
export class V1Machine {
  readonly #registers: V1Registers;
  readonly #device: VfioDevice;
  readonly #quirk: V1Quirk;
  readonly #onError: OnError;
  readonly #counters: Counters;
  readonly #releaseResources: () => void;
  #touched = false;
  #read = false;
  readonly #refusals: Refusals;

  constructor({ registers, device, quirk, onError, counters, releaseResources }: V1MachineParts) {
    this.#registers = registers;
    this.#device = device;
    this.#quirk = quirk;
    this.#onError = onError;
    this.#counters = counters;
    this.#refusals = new Refusals(device.notes);
    this.#releaseResources = releaseResources;
  }

  /** Reads device_state; `unknown` if the register cannot be read. */
  state(): V1Report {
    let raw: number | null = null;
    try {
      raw = this.#registers.deviceState;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      noteUnreadable(this.#device.notes, error);
    }
    const state = raw === null ? "unknown" : this.#nameOf(raw);
    if (raw !== null) this.#judge(state, raw);
    this.#counters.state = state;
    return { protocol: "v1", state, raw };
  }

  /** Checks the read value against the header's rules. */
  #judge(state: V1StateName | "unknown", raw: number): void {
    const { notes, borrowed } = this.#device;
    if (state === "invalid") {
      notes.add("state-undefined", () => `device_state was 0x${raw.toString(16)}`);
    }
    // A device that another process opened may have been stopped by it.
    if (!this.#read && !borrowed && (raw & VFIO_DEVICE_STATE_MASK) === STOP) {
      const code = this.#quirk.stopAtOpenIsRunning ? "quirk-stop-at-open" : "stop-at-open";
      notes.add(
        code,
        () => `device_state was 0x${raw.toString(16)} when the device had been opened`,
      );
    }
    this.#read = true;
  }

  #nameOf(raw: number): V1StateName {
    const bits = raw & VFIO_DEVICE_STATE_MASK;
    if (bits === STOP && this.#quirk.stopAtOpenIsRunning && !this.#touched) return "running";
    return NAMES[bits]!;
  }

  /**
   * Requests a state. Reads the register first and writes its other 29 bits back unchanged; writes
   * nothing if the device is in that state already.
   *
   * @throws {MigrationError} If the device is in none of `from`, or the driver refuses, with the
   * state after that. Does not recover.
   */
  transition(target: V1Target, from?: readonly StateName[]): V1Report {
    const before = this.state();
    const { raw } = before;
    if (raw === null) {
      throw stepError(
        `Cannot enter ${spell(target)}: device_state cannot be read`,
        "unreadable",
        this.#counters.state,
      );
    }
    demandStateIn(target, before, from);
    if (before.state === target) return before;
    const what = `Cannot go from ${spell(before.state)} to ${spell(target)}`;
    if (!hasArcs(before.state)) {
      throw stepError(`${what}: only a reset leads on`, "no-such-arc", this.#counters.state);
    }
    // A device that shows STOP at open may be running: the driver decides what it accepts.
    const atOpen = before.state === "stop" && !this.#touched;
    if (!atOpen && !ARCS[before.state].includes(target)) {
      throw stepError(
        `${what}: no arc of the protocol leads there`,
        "no-such-arc",
        this.#counters.state,
      );
    }
    // A register that shows STOP on a running device: writing the same value would change nothing.
    const shown = raw & VFIO_DEVICE_STATE_MASK;
    const now = shown === BITS[target] ? this.#write({ ...before, raw }, "running") : before;
    return this.#write({ ...now, raw: now.raw ?? raw }, target);
  }

  /** Writes a state, from the one that was read last, and reads it back. */
  #write(before: V1Report & { readonly raw: number }, target: V1Target): V1Report {
    const { raw } = before;
    try {
      this.#registers.deviceState = ((raw & ~VFIO_DEVICE_STATE_MASK) | BITS[target]) >>> 0;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const now = this.state();
      const where = now.state === before.state
        ? `the device is still in ${spell(now.state)}`
        : `the device is now in ${spell(now.state)}`;
      this.#refusals.refused(before.state, target, error);
      throw stepError(
        `Cannot go from ${spell(before.state)} to ${spell(target)}: ${error.code}, and ${where}`,
        "transition-refused",
        this.#counters.state,
        { cause: error },
      );
    }
    this.#touched = true;
    const after = readBack(() => this.state(), before, target, this.#device.notes);
    if (after.state !== target) {
      throw stepError(
        `Cannot go from ${spell(before.state)} to ${spell(target)}: ` +
          `the driver took the write, and ${
            after.raw === null
              ? "device_state cannot be read"
              : `the device is in ${spell(after.state)}`
          }`,
        "transition-ignored",
        this.#counters.state,
      );
    }
    this.#refusals.taken(before.state, target);
    this.#noteReserved(raw, after.raw ?? raw);
    return after;
  }

  #noteReserved(before: number, after: number): void {
    const [was, is] = [before, after].map((raw) => (raw & ~VFIO_DEVICE_STATE_MASK) >>> 0);
    // A bit of a later version may change by itself, but not all preserved bits are lost.
    if (was === 0 || is !== 0) return;
    this.#device.notes.add(
      "reserved-bits-lost",
      () =>
        `bits 3 to 31 were written as 0x${was!.toString(16)} and read back as 0x${
          is!.toString(16)
        }`,
    );
  }

  /**
   * Resets the device and reads back RUNNING. `givesUp` says whether to stop waiting for a device
   * that is not ready.
   *
   * @throws {MigrationError} If the reset fails or leaves another state: then the device is lost,
   * unless it is running nevertheless.
   */
  reset(givesUp: () => boolean): V1Report {
    this.#reset(givesUp);
    return this.state();
  }

  #reset(givesUp: () => boolean): "reset" | "reopened" {
    return resetDevice({
      device: this.#device,
      spell: (state) => spell(state as V1StateName | "unknown"),
      stateAfter: () => this.#afterReset(),
      releaseResources: () => {
        this.#releaseResources();
        this.#touched = false;
      },
    }, givesUp);
  }

  /**
   * The state after a reset; a register that this driver does not reset is brought back by arcs.
   */
  #afterReset(): StateName {
    const report = this.state();
    const { state } = report;
    if (!this.#quirk.resetKeepsState || !hasArcs(state) || state === "running") return state;
    this.#device.notes.add(
      "quirk-reset-keeps-state",
      () => `VFIO_DEVICE_RESET left device_state at ${spell(state)}`,
    );
    try {
      // Not from RESUMING to RUNNING at once: that would load what was received so far.
      // No arc of the protocol, from RESUMING, and the only way that this driver has.
      if (report.raw !== null && state !== "stop") {
        this.#write({ ...report, raw: report.raw }, "stop");
      }
      return this.transition("running", ["stop"]).state;
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      return error.deviceState;
    }
  }

  /**
   * Brings the device back to RUNNING: by arcs from a saving or stopped state, else by a reset,
   * unless the caller forbids it.
   *
   * Never throws: a failure returns `failed`, and the state says the rest.
   */
  recover(mode: RecoveryMode = "running", onError: OnError = this.#onError): Recovery {
    if (mode !== "reset") {
      const led = this.#leadBack();
      if (led !== null) return led;
    }
    // An abort is ignored here: the caller waits for this recovery.
    return resetAtLast(onError, () => this.#reset(() => false), this.#device.notes);
  }

  /**
   * Follows arcs, each from the state as it is read then, and none twice; null if none leads back.
   */
  #leadBack(): "none" | "running" | null {
    const tried = new Set<string>();
    for (;;) {
      const { state } = knownState(() => this.state());
      if (state === "running") return tried.size === 0 ? "none" : "running";
      // From RESUMING, it would run with an incomplete state.
      const arcs = hasArcs(state) && state !== "resuming" ? ARCS[state] : [];
      const target = arcs.find((next) => !tried.has(`${state} ${next}`));
      if (target === undefined) return null;
      tried.add(`${state} ${target}`);
      try {
        this.transition(target, [state]);
      } catch (error) {
        if (!(error instanceof MigrationError)) throw error;
        const { message } = error;
        this.#device.notes.add("recovery-refused", () => message);
      }
    }
  }
}
