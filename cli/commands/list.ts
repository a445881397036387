/**
 * `vfiokit list`: the devices that are VFIO devices, or could be.
 *
 * @module
 */

import { listDevices, type ListedDevice } from "../../src/vfio/mod.ts";
import type { Context } from "../context.ts";
import { deviceTable } from "../output/device_table.ts";
import type { ListArgs } from "../specs/list.ts";

/** Runs `list`. */
export function run({ all }: ListArgs, context: Context): Promise<number> {
  context.set({ devices: null, leftOut: null });
  const { devices, leftOut } = listDevices({ all });
  context.set({ devices: devices.map(document), leftOut });
  context.print(...(devices.length === 0 ? ["No VFIO devices."] : deviceTable(devices)));
  if (leftOut > 0) {
    context.note(
      leftOut === 1
        ? "1 device that VFIO does not concern is left out (--all lists it)"
        : `${leftOut} devices that VFIO does not concern are left out (--all lists them)`,
    );
  }
  return Promise.resolve(0);
}

function document({ ids, reason, ...device }: ListedDevice): Record<string, unknown> {
  return {
    ...device,
    vendorId: ids?.vendorId ?? null,
    deviceId: ids?.deviceId ?? null,
    subsystemVendorId: ids?.subsystemVendorId ?? null,
    subsystemId: ids?.subsystemId ?? null,
    reason: reason?.code ?? null,
    message: reason?.message ?? null,
  };
}
