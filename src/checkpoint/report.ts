/**
 * What a save or a restore tells about itself.
 *
 * @module
 */

import type { Phase, StateName } from "../migration/types.ts";

/** How one phase went. */
export interface PhaseReport {
  /** The phase. */
  readonly name: Phase | "resuming";
  /** Transactions moved. */
  readonly transactions: number;
  /** Bytes of device state moved. */
  readonly bytes: number;
  /** From the change of state to the last byte moved. */
  readonly seconds: number;
}

/** How a save or restore went. */
export interface TransferReport {
  /** The device's state now. */
  readonly state: StateName;
  /** Transactions moved, in all phases. */
  readonly transactions: number;
  /** Bytes of device state moved, in all phases. */
  readonly bytes: number;
  /** From the first change of state to the last byte moved. */
  readonly seconds: number;
  /** The phases, in order. */
  readonly phases: readonly PhaseReport[];
}

/** The sums over all phases. */
export function totals(
  phases: readonly PhaseReport[],
): { readonly transactions: number; readonly bytes: number } {
  return {
    transactions: phases.reduce((sum, phase) => sum + phase.transactions, 0),
    bytes: phases.reduce((sum, phase) => sum + phase.bytes, 0),
  };
}
