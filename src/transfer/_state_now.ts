/**
 * The state of a device, to be told, or to go by.
 */

import type { Device } from "../migration/device.ts";
import type { NotedStateReport, StateName } from "../vfio/state/states.ts";

/** The state, read afresh; twice if it cannot be read at first. */
export async function stateNow(device: Device): Promise<StateName> {
  return (await reportNow(device)).state;
}

/** As {@linkcode stateNow}, with all that is known of it. */
export async function reportNow(device: Device): Promise<NotedStateReport> {
  const report = await device.state();
  return report.state === "unknown" ? await device.state() : report;
}
