/**
 * The words that every phase speaks: states, phases, transactions.
 *
 * @module
 */

/**
 * A device's migration state by name, whichever protocol it speaks.
 *
 * v1 (`device_state` bits): `stop` 000b, `running` 001b, `stop-and-copy` 010b,
 * `pre-copy` 011b, `resuming` 100b, `error` 110b, `invalid` 101b and 111b.
 * `unknown` means that the state could not be read.
 */
export type StateName =
  | "stop"
  | "running"
  | "stop-and-copy"
  | "pre-copy"
  | "resuming"
  | "error"
  | "invalid"
  | "unknown";

/** The states that a caller may ask for. */
export type TargetState = "stop" | "running" | "stop-and-copy" | "pre-copy" | "resuming";

/** The migration protocols: the v1 region, the v2 device feature. */
export type Protocol = "v1" | "v2";

/** What a device's state is now. */
export interface StateReport {
  /** The protocol that gave the answer. */
  readonly protocol: Protocol;
  /** The state's name. */
  readonly state: StateName;
  /** The register as read (v1: all 32 bits of device_state); null where it could not be read. */
  readonly raw: number | null;
}

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
  /** The migration region's type and subtype; null for v2. */
  readonly region: { readonly type: number; readonly subtype: number } | null;
}
