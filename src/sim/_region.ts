/**
 * What the regions of a simulated device have in common.
 */

import type { DeviceState } from "./_device_state.ts";
import type { FaultPlan } from "./_faults.ts";
import type { SparseArea } from "./_layout.ts";

/** Bytes of a caller. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A region, as pread and pwrite reach it; positions count from its start. */
export interface Region {
  /** Its bytes, as VFIO_DEVICE_GET_REGION_INFO says. */
  readonly size: number;
  /** VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP. */
  readonly flags: number;
  /** Reads; returns the bytes read. */
  pread(at: number, into: Bytes): number;
  /** Writes; returns the bytes written. */
  pwrite(at: number, from: Bytes): number;
}

/** A migration region; mmap may reach parts of it, and memory refuses nothing. */
export interface MigrationRegion extends Region {
  /** What mmap reaches; null where nothing. */
  readonly areas: readonly SparseArea[] | null;
  /** The register device_state. */
  readonly deviceState: number;
  /** Whether the device works now. */
  readonly running: boolean;
  /** The device is opened. */
  open(): void;
  /** The device is reset. */
  reset(): void;
  /** A read through a mapping. */
  load(at: number, into: Bytes): void;
  /** A write through a mapping. */
  store(at: number, from: Bytes): void;
}

/** What a region knows of the device it belongs to. */
export interface RegionOwner {
  /** The device's state. */
  readonly state: DeviceState;
  /** What goes wrong with it. */
  readonly faults: FaultPlan;
  /** Lets the time since the last call pass, for all that the device does meanwhile. */
  elapse(): void;
  /** The user broke the protocol: how. */
  violate(how: string): void;
  /** The device is gone: this call and all that follow answer ENODEV. */
  lose(): never;
}
