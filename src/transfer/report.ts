/**
 * What a save or a restore tells about itself.
 *
 * @module
 */

import type { PrecopyReport } from "../vfio/state/precopy_report.ts";
import type { DowntimeReport, Standstill } from "../vfio/state/standstill.ts";
import type { Phase } from "../checkpoint/batches/transaction.ts";
import type { StateName } from "../vfio/state/states.ts";
import type { DriverNote } from "../vfio/notes/driver_notes.ts";
import type { ReadBackReport } from "../checkpoint/read_back.ts";

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

/** How a save or restore went for one device. */
export interface DeviceReport {
  /** How long it stood still, and where that time went; null if it did not, or that is unknown. */
  readonly downtime: DowntimeReport | null;
  /** How pre-copy went; null without one. */
  readonly precopy: PrecopyReport | null;
  /** The name it was opened by. */
  readonly name: string;
  /** Whether its DMA to the others could be held back while they stopped: it has the P2P states. */
  readonly p2p: boolean;
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
  /**
   * What the driver did against the rules, though the work went on. Of a device's first save or
   * restore, since it was opened.
   */
  readonly notes: readonly DriverNote[];
}

/** How a save or restore went: of one device or of several. */
export interface TransferReport {
  /**
   * How long at least one of the devices stood still: from the first that stopped until the last
   * ran again. Null if one does not run.
   */
  readonly downtimeSeconds: number | null;
  /** The state of the devices now; null if they differ. */
  readonly state: StateName | null;
  /** Transactions moved, of all devices in all phases. */
  readonly transactions: number;
  /** Bytes of device state moved, of all devices in all phases. */
  readonly bytes: number;
  /** From the first change of state to the last byte moved. */
  readonly seconds: number;
  /** The phases of all together, from the first device that began one to the last that ended it. */
  readonly phases: readonly PhaseReport[];
  /** Each device, in the order of the checkpoint. */
  readonly devices: readonly DeviceReport[];
}

/** How a save went. */
export interface SaveReport extends TransferReport {
  /** Whether the file was read back; its time is no part of `seconds`. */
  readonly readBack: ReadBackReport;
}

/** What of a device's times is in its report. */
export function deviceTimes(
  { standstill, precopy }: {
    readonly standstill: Standstill | null;
    readonly precopy: PrecopyReport | null;
  },
): Pick<DeviceReport, "downtime" | "precopy"> {
  if (standstill === null) return { downtime: null, precopy };
  const { seconds, parts } = standstill;
  return { downtime: { seconds, parts }, precopy };
}

/** The state that all devices are in; null if they differ. */
export function commonState(devices: readonly DeviceReport[]): StateName | null {
  const [first] = devices;
  return devices.every(({ state }) => state === first!.state) ? first!.state : null;
}

/** The sums over all phases. */
export function totals(
  phases: readonly Pick<PhaseReport, "transactions" | "bytes">[],
): { readonly transactions: number; readonly bytes: number } {
  return {
    transactions: phases.reduce((sum, phase) => sum + phase.transactions, 0),
    bytes: phases.reduce((sum, phase) => sum + phase.bytes, 0),
  };
}
