/**
 * The interfaces of a simulated device's regions.
 */

import type { Bytes } from "../os/bytes.ts";

/** A part of a region that can be mapped. */
export interface MappableArea {
  /** Offset in the region, in bytes. */
  readonly offset: number;
  /** Size in bytes. */
  readonly size: number;
}

/** A region, accessed by pread and pwrite; positions count from its start. */
export interface DeviceRegion {
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
export interface MigrationRegion extends DeviceRegion {
  /** The areas that can be mapped; null if there are none. */
  readonly areas: readonly MappableArea[] | null;
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
