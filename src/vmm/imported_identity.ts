/**
 * What a checkpoint says of a device whose state comes from a file of a virtual machine monitor.
 *
 * @module
 */

import type { DeviceIdentity } from "../checkpoint/metadata/device_identity.ts";
import {
  VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
  VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
} from "../uapi/mod.ts";
import type { Protocol } from "../vfio/state/states.ts";
import type { PciIds } from "../vfio/sysfs/sysfs.ts";
import { VmmFileError } from "./vmm_file_error.ts";

/** What a caller knows of a device whose state is imported. */
export interface ImportedDevice {
  /** The protocol that it speaks. */
  readonly protocol: Protocol;
  /** A device of the same kind, which knows its driver and type; null for none. */
  readonly like: DeviceIdentity | null;
}

/** The ids that a file has of a device, and what they are called. */
const IDS = {
  vendorId: "the vendor id",
  deviceId: "the device id",
  subsystemVendorId: "the subsystem vendor id",
  subsystemId: "the subsystem id",
} as const;

/** A device in a file of a virtual machine monitor. */
export interface DeviceInFile {
  /** Its name there. */
  readonly name: string;
  /** Its PCI ids; null if the file does not say. */
  readonly ids: PciIds | null;
}

/**
 * The identity that a checkpoint gets: that of a device of the same kind; without one, the ids in
 * the file.
 *
 * @throws {VmmFileError} `identity` if the file's ids, or the protocol, are not those of the other
 * device.
 */
export function importedIdentity(
  { name, ids }: DeviceInFile,
  { protocol, like }: ImportedDevice,
): DeviceIdentity {
  if (like !== null) {
    const differences = ids === null ? [] : (Object.keys(IDS) as (keyof typeof IDS)[])
      .filter((key) => like[key] !== null && like[key] !== ids[key])
      .map((key) => `${IDS[key]} is ${hex(ids[key])}, and not ${hex(like[key]!)}`);
    if (like.protocol !== protocol) differences.push(`the protocol is ${protocol}`);
    if (differences.length === 0) return like;
    const what = `${name} is no such device: ${differences.join(", ")}`;
    throw new VmmFileError("identity", null, what);
  }
  const region = protocol === "v2" ? null : {
    type: VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
    subtype: VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
  };
  return {
    protocol,
    bus: "unknown",
    driver: null,
    vendorId: ids?.vendorId ?? null,
    deviceId: ids?.deviceId ?? null,
    subsystemVendorId: ids?.subsystemVendorId ?? null,
    subsystemId: ids?.subsystemId ?? null,
    mdevType: null,
    region,
  };
}

function hex(id: number): string {
  return `0x${id.toString(16).padStart(4, "0")}`;
}
