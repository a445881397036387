/**
 * Whether a checkpoint fits a device.
 *
 * @module
 */

import type { DeviceIdentity } from "../../checkpoint/metadata/device_identity.ts";

type Scalar = Exclude<keyof DeviceIdentity, "region">;

const NAMES: Readonly<Record<Scalar, string>> = {
  protocol: "the protocol",
  bus: "the bus",
  driver: "the driver",
  vendorId: "the vendor id",
  deviceId: "the device id",
  subsystemVendorId: "the subsystem vendor id",
  subsystemId: "the subsystem id",
  mdevType: "the mdev type",
  vgpuType: "the vGPU type",
};

function words(value: string | number | null): string {
  if (typeof value === "number") return `0x${value.toString(16).padStart(4, "0")}`;
  return value === null ? "none" : `"${value}"`;
}

function regionWords(region: DeviceIdentity["region"]): string {
  return region === null ? "none" : `type ${region.type} subtype ${region.subtype}`;
}

/**
 * How the device that a checkpoint was made of differs from the one at hand, in
 * words; empty if they fit. What is not known of either (null, or a bus
 * `unknown`) does not differ; protocol and region always count.
 *
 * @example
 * ```ts
 * import { checkIdentity } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const saved = {
 *   protocol: "v1", bus: "pci", driver: "ice", vendorId: 0x8086, deviceId: 0x1889,
 *   subsystemVendorId: null, subsystemId: null, mdevType: null, region: { type: 1, subtype: 1 },
 * } as const;
 * assert.deepEqual(checkIdentity(saved, { ...saved, driver: null }), []);
 * assert.deepEqual(checkIdentity(saved, { ...saved, deviceId: 0x1890 }), [
 *   "the device id is 0x1889 in the checkpoint, 0x1890 of this device",
 * ]);
 * ```
 */
export function checkIdentity(saved: DeviceIdentity, actual: DeviceIdentity): string[] {
  const differences: string[] = [];
  const differ = (name: string, a: string, b: string): void => {
    differences.push(`${name} is ${a} in the checkpoint, ${b} of this device`);
  };
  for (const key of Object.keys(NAMES) as Scalar[]) {
    const [a, b] = [saved[key] ?? null, actual[key] ?? null];
    const unknown = a === null || b === null ||
      key === "bus" && (a === "unknown" || b === "unknown");
    if (a !== b && !unknown) differ(NAMES[key], words(a), words(b));
  }
  if (
    saved.region?.type !== actual.region?.type || saved.region?.subtype !== actual.region?.subtype
  ) differ("the migration region", regionWords(saved.region), regionWords(actual.region));
  return differences;
}
