/**
 * The state of a device, to be told.
 */

import type { Device } from "../migration/device.ts";
import type { StateName } from "../migration/types.ts";

/** The state, read afresh; twice where it cannot be read for once. */
export async function stateNow(device: Device): Promise<StateName> {
  const { state } = await device.state();
  return state === "unknown" ? (await device.state()).state : state;
}
