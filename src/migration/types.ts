/**
 * The words that every phase speaks: states, phases, transactions.
 *
 * @module
 */

import type { DriverNote } from "../vfio/notes/driver_notes.ts";

/**
 * A v1 state, by the bits of device_state: `stop` 000b, `running` 001b,
 * `stop-and-copy` 010b, `pre-copy` 011b, `resuming` 100b, `error` 110b,
 * `invalid` 101b and 111b.
 */
export type V1StateName =
  | "stop"
  | "running"
  | "stop-and-copy"
  | "pre-copy"
  | "resuming"
  | "error"
  | "invalid";

/**
 * A v2 state (enum vfio_device_mig_state). Its numbers are not those of v1.
 */
export type V2StateName =
  | "error"
  | "stop"
  | "running"
  | "stop-copy"
  | "resuming"
  | "running-p2p"
  | "pre-copy"
  | "pre-copy-p2p";

/** A device's migration state by name, whichever protocol it speaks; `unknown`: it could not be read. */
export type StateName = V1StateName | V2StateName | "unknown";

/** The states that a caller may ask for; a device refuses those of the other protocol. */
export type TargetState = Exclude<StateName, "error" | "invalid" | "unknown">;

/** The migration protocols: the v1 region, the v2 device feature. */
export type Protocol = "v1" | "v2";

/** What a device's state is now. */
export type StateReport =
  | {
    /** The protocol that gave the answer. */
    readonly protocol: "v1";
    /** The state's name. */
    readonly state: V1StateName | "unknown";
    /** All 32 bits of device_state as read; null where it could not be read. */
    readonly raw: number | null;
  }
  | {
    /** The protocol that gave the answer. */
    readonly protocol: "v2";
    /** The state's name. */
    readonly state: V2StateName | "unknown";
    /** The state's number; null where it could not be read. */
    readonly raw: number | null;
  };

/** A {@linkcode StateReport} from a device, with what its driver did against the rules meanwhile. */
export type NotedStateReport = StateReport & {
  /** What was noted of the driver while this was asked. */
  readonly notes: readonly DriverNote[];
};

/** The phases that yield data. */
export type Phase = "pre-copy" | "stop-and-copy";

/**
 * What one iteration of the protocol yielded, or a part of it.
 *
 * The data is a view into a batch; consecutive transactions of a batch lie one
 * behind the other in the same buffer. An iteration larger than a batch comes
 * as several chunks, all but the last with `more` set: boundaries are part of
 * the data, and a restore replays them alike.
 */
export interface Transaction {
  /** The number of the device in the checkpoint; 0 where there is one. */
  readonly device: number;
  /** The phase that yielded it. */
  readonly phase: Phase;
  /** The bytes. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Whether the same iteration goes on in the next chunk. */
  readonly more: boolean;
}

/** What a device is, as far as a checkpoint must fit it: not which instance it is. */
export interface DeviceIdentity {
  /** The migration protocol. */
  readonly protocol: Protocol;
  /** The bus: `pci`, `mdev`, `platform`, …; `unknown` for a bare fd that is not PCI. */
  readonly bus: string;
  /** The bound driver, or for an mdev its parent's type driver; null where unknown (a bare fd). */
  readonly driver: string | null;
  /** PCI vendor id; null where the device has none. */
  readonly vendorId: number | null;
  /** PCI device id. */
  readonly deviceId: number | null;
  /** PCI subsystem vendor id. */
  readonly subsystemVendorId: number | null;
  /** PCI subsystem id. */
  readonly subsystemId: number | null;
  /** The mdev type, such as `nvidia-63`; null where the device is no mdev. */
  readonly mdevType: string | null;
  /** The number of the vGPU type chosen for an NVIDIA virtual function; left out of all others. */
  readonly vgpuType?: string;
  /** The migration region's type and subtype; null for v2. */
  readonly region: { readonly type: number; readonly subtype: number } | null;
}
