/**
 * What kind of device a checkpoint is of.
 *
 * @module
 */

import type { Protocol } from "../../vfio/state/states.ts";

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
