/**
 * What a protocol must be able to do, synchronously, on the thread where it
 * may block. v1 is the first; the streams above know only this.
 */

import type { Batch, BatchBuilder } from "./_batch.ts";
import type { Recovery } from "./error.ts";
import type { Phase, StateName, StateReport, TargetState } from "./types.ts";

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

/** A migration protocol on one device. */
export interface Engine extends Disposable {
  /** Reads the state. */
  state(): StateReport;
  /**
   * Asks for a state; says the state after. Same-state requests write nothing.
   * `onError` overrides what the engine was made with.
   */
  transition(target: TargetState, onError?: OnError): StateReport;
  /** VFIO_DEVICE_RESET, and RUNNING read back. */
  reset(): StateReport;
  /** Brings the device back to RUNNING: by an arc where there is one, else by a reset. */
  recover(): Recovery;
  /** Enters a phase that yields data. */
  beginSave(phase: Phase, limits: PrecopyLimits): void;
  /** Fills a batch; true once the phase has ended. */
  fill(batch: BatchBuilder): boolean;
  /** Lets another process go on from here: v2's data fd is put into the place that was opened with. */
  handOver(): void;
  /** Enters RESUMING. */
  beginRestore(): void;
  /** Gives a batch to the device. */
  load(batch: Batch): void;
  /** Leaves RESUMING, for RUNNING or a stopped device. */
  endRestore(leave: "running" | "stop"): void;
}
