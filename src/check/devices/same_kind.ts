/**
 * Whether the state of one device can be meant for another.
 */

import { readMigrationFlags } from "../../vfio/device/feature.ts";
import { findMigrationRegion } from "../../vfio/device/migration_region.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import { CheckError } from "../check_error.ts";

/**
 * Refuses two devices of different kinds.
 *
 * @throws {CheckError} With what differs.
 */
export function demandSameKind(first: VfioDevice, second: VfioDevice): void {
  const [one, other] = [kindOf(first), kindOf(second)];
  const differences = Object.keys(one)
    .filter((what) => one[what] !== null && other[what] !== null && one[what] !== other[what])
    .map((what) => `${what} is ${one[what]} of the first, ${other[what]} of the second`);
  if (differences.length === 0) return;
  throw new CheckError(
    "different-kinds",
    `Cannot check ${first.label} with ${second.label}: they are devices of different kinds: ` +
      differences.join("; "),
    "Name two devices of one kind, or one alone: its state is then restored into itself",
  );
}

/** What of a device has to be alike. */
function kindOf(device: VfioDevice): Record<string, string | null> {
  const { bus, driver, vendorId, deviceId, mdevType } = device.identity();
  const hex = (id: number | null): string | null => id === null ? null : `0x${id.toString(16)}`;
  const protocol = findMigrationRegion(device) !== null
    ? "v1"
    : readMigrationFlags(device) !== null
    ? "v2"
    : "none";
  return {
    "the migration protocol": protocol,
    "the bus": bus === "unknown" ? null : bus,
    "the driver": driver,
    "the vendor id": hex(vendorId),
    "the device id": hex(deviceId),
    "the mdev type": mdevType,
  };
}
