/**
 * What a protocol must be able to do, synchronously, on the thread where it
 * may block. v1 is the first; the streams above know only this.
 */

import type { Batch, BatchBuilder } from "../../checkpoint/batches/batch_builder.ts";
import type { Recovery } from "../../vfio/state/recovery.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";
import type { StateName, StateReport, TargetState } from "../../vfio/state/states.ts";

/** What a failure does with a device that no arc leads back: reset it, or leave it to be looked at. */
export type OnError = "reset" | "leave";

/** When pre-copy ends. */
export interface PrecopyLimits {
  /** Ends when no more bytes than this are pending. */
  readonly threshold: number;
  /** Ends when what is pending is read within so many milliseconds; 0: the threshold decides. */
  readonly downtimeMs: number;
  /** Ends after so many rounds. */
  readonly maxRounds: number;
  /** Ends after so many milliseconds. */
  readonly maxTimeMs: number;
}

/** What a phase tells while it goes on. */
export interface Counters {
  /** The device's state, as last known. */
  state: StateName;
  /** Bytes that the driver last said are pending; -1 where it has not said. */
  pendingBytes: number;
  /** Bytes moved since the phase began. */
  bytes: number;
  /** Transactions moved since the phase began. */
  transactions: number;
  /** Whether somebody wants the engine back soon: a batch then ends early. */
  readonly interrupted: boolean;
}

/**
 * How a device is brought back to RUNNING: `running`, along the arcs where they
 * lead there, else by a reset; `running-p2p`, the same, but only as far as
 * RUNNING_P2P where the device has that state and has left it, so that others
 * can catch up; `reset`, by a reset in any case, unless there was one since the
 * phase began: for what a restore has begun to change.
 */
export type RecoveryMode = "running" | "running-p2p" | "reset";

/** A migration protocol on one device. */
export interface Engine extends Disposable {
  /** Reads the state. */
  state(): StateReport;
  /**
   * Asks for a state; says the state after. Same-state requests write nothing.
   * `onError` overrides what the engine was made with, `nothing` leaves even the arcs back to the
   * caller; a device that is in none of `from` has left it by itself, which is an error.
   */
  transition(
    target: TargetState,
    onError?: OnError | "nothing",
    from?: readonly StateName[],
  ): StateReport;
  /** VFIO_DEVICE_RESET, and RUNNING read back; interrupted, it waits no longer for the device. */
  reset(): StateReport;
  /** Brings the device back to RUNNING; says what was done since the last phase began. */
  recover(way?: RecoveryMode): Recovery;
  /** Refuses what {@linkcode Engine.beginSave} would refuse; the device is not touched. */
  checkSave(phase: Phase): void;
  /** Enters a phase that yields data. */
  beginSave(phase: Phase, limits: PrecopyLimits): void;
  /** Fills a batch; true once the phase has ended. */
  fill(batch: BatchBuilder): boolean;
  /** Lets another process go on from here: v2's data fd is put into the place that was opened with. */
  handOver(): void;
  /** Refuses what {@linkcode Engine.beginRestore} would refuse; the device is not touched. */
  checkRestore(): void;
  /** Enters RESUMING. */
  beginRestore(): void;
  /** Gives a batch to the device. */
  load(batch: Batch): void;
  /** Leaves RESUMING, for RUNNING or a stopped device. */
  endRestore(leave: "running" | "stop"): void;
}
