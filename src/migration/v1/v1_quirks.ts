/**
 * Known differences of v1 drivers from the protocol's text.
 */

import type { QuirkName } from "../../vfio/device/quirk.ts";

/** A profile's differences. */
export interface V1Quirk {
  /** device_state reads 0 on a running device until it is first written. */
  readonly stopAtOpenIsRunning: boolean;
  /** VFIO_DEVICE_RESET does not change device_state. */
  readonly resetKeepsState: boolean;
  /** data_size may read 0 with data pending: the data is min(pending, the area declared at data_offset). */
  readonly zeroSizeIsPending: boolean;
}

/** A driver that follows the protocol. */
export const NO_QUIRK: V1Quirk = {
  stopAtOpenIsRunning: false,
  resetKeepsState: false,
  zeroSizeIsPending: false,
};

/** The profiles by name. */
export const QUIRKS: Readonly<Record<QuirkName, V1Quirk>> = {
  "ice": { ...NO_QUIRK, stopAtOpenIsRunning: true, resetKeepsState: true },
  "nvidia-vgpu": { ...NO_QUIRK, zeroSizeIsPending: true },
};
