/**
 * Whether a device has what a check needs.
 */

import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
} from "../uapi/mod.ts";
import type { VfioDevice } from "../vfio/device/device.ts";
import {
  DMA_LOGGING_REPORT,
  DMA_LOGGING_START,
  DMA_LOGGING_STOP,
  type Feature,
  MIG_DATA_SIZE,
  MIG_PRECOPY_INFO_V2,
  migrationFlagNames,
  probeFeature,
} from "../vfio/device/feature.ts";
import type { Needs } from "./define.ts";

/** What a device under check has. */
export interface Means {
  /** Its migration protocol; null if that is not known. */
  readonly protocol: "v1" | "v2" | null;
  /** Its VFIO_MIGRATION_*. */
  readonly flags: number;
  /** The open device. */
  readonly device: VfioDevice;
  /** Whether VFIO_DEVICE_RESET works. */
  readonly resettable: boolean;
  /** Whether closing it is its last close. */
  readonly closable: boolean;
  /** Whether it is simulated. */
  readonly simulated: boolean;
  /** Whether a program keeps it busy. */
  readonly load: boolean;
}

const FEATURES: Readonly<Record<number, readonly [Feature, "get" | "set"]>> = {
  [VFIO_DEVICE_FEATURE_MIG_DATA_SIZE]: [MIG_DATA_SIZE, "get"],
  [VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2]: [MIG_PRECOPY_INFO_V2, "set"],
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_START]: [DMA_LOGGING_START, "set"],
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP]: [DMA_LOGGING_STOP, "set"],
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT]: [DMA_LOGGING_REPORT, "get"],
};

/** What a device lacks for a check, as a clause; null if it has everything. */
export function lack(needs: Needs, means: Means): string | null {
  const { device } = means;
  if (needs.protocol !== undefined && needs.protocol !== means.protocol) {
    return means.protocol === null
      ? "the driver describes its regions wrongly, so no migration region was found"
      : `the device speaks protocol ${means.protocol}`;
  }
  const missing = (needs.flags ?? 0) & ~means.flags;
  if (missing !== 0) return `the device has no ${migrationFlagNames(missing).join(", ")}`;
  const unwanted = (needs.without ?? 0) & means.flags;
  if (needs.without !== undefined && unwanted === needs.without) {
    return `the device has ${migrationFlagNames(unwanted).join(", ")}`;
  }
  for (const number of needs.features ?? []) {
    const [feature, access] = FEATURES[number]!;
    const errno = probeFeature(device, feature, access);
    if (errno !== null) return `the device has no ${feature.name} (${errno})`;
  }
  if (needs.resettable === true && !means.resettable) return "the driver cannot reset the device";
  if ((needs.closable === true || needs.dma === true) && !means.closable) {
    return "another program opened the device, and has its state, its memory and its log";
  }
  if (needs.dma === true && device.space === null) {
    return "the device's address space is not known, so no memory can be mapped for its DMA";
  }
  if (needs.type1 === true && device.container === null) return "the device has no type1 container";
  if (needs.load === true && !means.load && !means.simulated) {
    return "nothing keeps the device busy: the check wants a load";
  }
  if (needs.threads === true && means.simulated) {
    return "a simulated device serves one thread only";
  }
  return null;
}
