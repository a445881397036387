/**
 * The interfaces of a simulated device's regions.
 */

import type { DeviceState } from "../state/device_state.ts";
import type { FaultPlan } from "../faults/fault_plan.ts";
import type { SparseArea } from "../v1/region_layout.ts";

/** The bytes of a caller's buffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A region, accessed by pread and pwrite; positions count from its start. */
export interface Region {
  /** Size in bytes, as VFIO_DEVICE_GET_REGION_INFO reports it. */
  readonly size: number;
  /** VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP. */
  readonly flags: number;
  /** Reads; returns the bytes read. */
  pread(at: number, into: Bytes): number;
  /** Writes; returns the bytes written. */
  pwrite(at: number, from: Bytes): number;
}

/** A v1 migration region. Parts of it may be mapped; access to mapped memory never fails. */
export interface MigrationRegion extends Region {
  /** The areas that can be mapped; null if there are none. */
  readonly areas: readonly SparseArea[] | null;
  /** The register device_state. */
  readonly deviceState: number;
  /** Whether the device runs. */
  readonly running: boolean;
  /** The device is opened. */
  open(): void;
  /** The device is reset. */
  reset(): void;
  /** A read through a mapping. */
  load(at: number, into: Uint8Array): void;
  /** A write through a mapping. */
  store(at: number, from: Uint8Array): void;
}

/** The device that a region belongs to, as the region sees it. */
export interface RegionOwner {
  /** The device's state. */
  readonly state: DeviceState;
  /** The device's faults. */
  readonly faults: FaultPlan;
  /** Applies the time since the last call to everything that the device does by itself. */
  elapse(): void;
  /** Records how the user broke the protocol. */
  violate(how: string): void;
  /** The device is gone: this call and all later ones fail with ENODEV. */
  lose(): never;
}
