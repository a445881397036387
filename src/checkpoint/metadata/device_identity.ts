/**
 * What kind of device a checkpoint is of.
 *
 * @module
 */

import type { Protocol } from "../../vfio/state/states.ts";
import type { VfioIdentity } from "../../vfio/sysfs/identity.ts";

/** What a device is, as far as a checkpoint must fit it: not which instance it is. */
export interface DeviceIdentity extends VfioIdentity {
  /** The migration protocol. */
  readonly protocol: Protocol;
  /** The migration region's type and subtype; null for v2. */
  readonly region: { readonly type: number; readonly subtype: number } | null;
}
