/**
 * The interface of a migration protocol: synchronous calls, on the thread where they may block. The
 * session above knows only this interface; base_engine.ts implements what is common.
 */

import type { PrecopyReport } from "../../vfio/state/precopy_report.ts";
import type { BatchBuilder, FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import type { Recovery } from "../../vfio/state/recovery.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";
import type { StateName, StateReport, TargetState } from "../../vfio/state/states.ts";

/**
 * What a failure does with a device that no arc brings back: reset it, or leave it for inspection.
 */
export type OnError = "reset" | "leave";

/** When pre-copy ends. */
export interface PrecopyLimits {
  /** Ends when at most this many bytes are pending. */
  readonly threshold: number;
  /**
   * Ends when the pending bytes can be read within this many milliseconds; 0: the threshold
   * decides.
   */
  readonly downtimeMs: number;
  /** Ends after this many rounds. */
  readonly maxRounds: number;
  /** Ends after this many milliseconds. */
  readonly maxTimeMs: number;
}

/** Reports a phase's progress while it runs. */
export interface Counters {
  /** The last known state of the device. */
  state: StateName;
  /** Pending bytes, as the driver last reported them; -1 if it has not. */
  pendingBytes: number;
  /** Bytes moved since the phase began. */
  bytes: number;
  /** Transactions moved since the phase began. */
  transactions: number;
  /** Whether the caller waits to use the engine: a batch then ends early. */
  readonly interrupted: boolean;
  /** The fd for v2's data, while it is open. */
  dataFd: number | null;
}

/**
 * How a device is brought back to RUNNING. `running`: by arcs if they lead there, else by a reset.
 * `running-p2p`: the same, but only to RUNNING_P2P if the device has that state and has left it, so
 * that other devices can catch up. `reset`: always by a reset, unless there was one since the phase
 * began; for a device that a restore has begun to change.
 */
export type RecoveryMode = "running" | "running-p2p" | "reset";

/** When a phase began and ended, in milliseconds since 1970. */
export interface PhaseTime {
  /** When the change of state was asked for. */
  readonly begun: number;
  /** When the last byte was there. */
  readonly ended: number;
}

/** A migration protocol on one device. */
export interface Engine extends Disposable {
  /** Reads the state. */
  state(): StateReport;
  /**
   * Requests a state and returns the state after. Requests for the present state write nothing.
   * `onError` overrides the engine's default; with `nothing`, even the arcs back are left to the
   * caller. A device in none of the states in `from` was changed by another process, which is an
   * error.
   */
  transition(
    target: TargetState,
    onError?: OnError | "nothing",
    from?: readonly StateName[],
  ): StateReport;
  /**
   * Resets the device and reads back RUNNING; if interrupted, does not wait any longer for the
   * device.
   */
  reset(): StateReport;
  /** Brings the device back to RUNNING; returns what was done since the last phase began. */
  recover(mode?: RecoveryMode): Recovery;
  /** Throws if {@linkcode Engine.beginSave} would refuse; does not touch the device. */
  checkSave(phase: Phase): void;
  /** How the pre-copy of this save went; null without one. */
  readonly precopyReport: PrecopyReport | null;
  /** Enters a phase that yields data. */
  beginSave(phase: Phase, limits: PrecopyLimits): void;
  /** When the last phase that yields data began, and when it ended if it has. */
  readonly phaseTime: PhaseTime;
  /** Fills a batch; returns true once the phase has ended. */
  fill(batch: BatchBuilder): boolean;
  /**
   * Lets another process continue: puts v2's data fd into the socket that the device was opened
   * with.
   */
  handOver(): void;
  /** Throws if {@linkcode Engine.beginRestore} would refuse; does not touch the device. */
  checkRestore(): void;
  /** Enters RESUMING. */
  beginRestore(): void;
  /** Gives a batch to the device. */
  load(batch: FilledBatch): void;
  /** Leaves RESUMING, for RUNNING or a stopped device. */
  endRestore(leave: "running" | "stop"): void;
}
