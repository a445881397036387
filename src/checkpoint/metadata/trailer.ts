/**
 * A checkpoint's trailer: what must have come before it.
 *
 * @module
 */

import type { Phase } from "../batches/transaction.ts";

/** What a checkpoint holds of one device. */
export interface DeviceTotals {
  /** Transactions: iterations of the protocol. */
  readonly transactions: number;
  /** Bytes of device state, uncompressed. */
  readonly bytes: number;
}

/** The end of a whole checkpoint. */
export interface CheckpointTrailer {
  /** Whether a restore may use it; false where it was written by the pre-copy phase alone. */
  readonly complete: boolean;
  /** Frames before the trailer. */
  readonly frames: number;
  /** Bytes before the trailer's frame, preamble included. */
  readonly storedBytes: number;
  /** Transactions of all devices. */
  readonly transactions: number;
  /** Bytes of all devices' state, uncompressed. */
  readonly bytes: number;
  /** SHA-256 of all device state in the order of the stream, uncompressed, in hex; null for none. */
  readonly sha256: string | null;
  /** The same by device, in the header's order. */
  readonly devices: readonly DeviceTotals[];
}

/** What one device gave in one phase. */
export interface PhaseTotals {
  /** The number of the device in the checkpoint. */
  readonly device: number;
  /** The phase. */
  readonly phase: Phase;
  /** Transactions. */
  readonly transactions: number;
  /** Bytes, uncompressed. */
  readonly bytes: number;
  /** Size of the smallest transaction, in bytes. */
  readonly smallest: number;
  /** Size of the largest transaction, in bytes. */
  readonly largest: number;
  /**
   * How long it took: from the change of state to the last byte, as the device's thread measured
   * it. If the checkpoint does not say it: from the end of what the device gave before to its last
   * batch.
   */
  readonly seconds: number;
}
