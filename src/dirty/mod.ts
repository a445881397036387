/**
 * Dirty pages: which memory a device wrote to, as its IOMMU or the device itself keeps track of it.
 *
 * A {@linkcode DirtySession} opens a device, maps memory for it, chooses a tracker and reads it.
 * {@linkcode Type1Tracker} asks the type1 IOMMU of the device's container, {@linkcode LogTracker}
 * the log that the device keeps of its own DMA. Either may report too many pages, never too few.
 * {@linkcode WriteProtection} finds what this process writes to its memory itself.
 * {@linkcode forecast} says from measured rounds whether pre-copy of the memory would converge.
 *
 * @example
 * ```ts
 * import { DirtySession } from "vfiokit/dirty";
 * import assert from "node:assert/strict";
 *
 * using session = DirtySession.open("sim:trapped?dma=hot:90/10:2000/s", {
 *   mappings: [{ iova: 0x100000n, size: 0x400000n }],
 * });
 * session.tracker.start();
 * const reading = session.tracker.read();
 * assert.equal(reading.pages, 1024);
 * ```
 *
 * @module
 */

export { DirtyBitmap, type DirtyRun } from "./bitmap/bitmap.ts";
export type { BitmapRange } from "./bitmap/bitmap_range.ts";
export { DeviceMemory, type MemoryPart } from "./device_memory.ts";
export {
  type Forecast,
  forecast,
  FORECAST_MAX_ROUNDS,
  type ForecastOptions,
  type ForecastRound,
  type MeasuredRound,
} from "./forecast.ts";
export { type AttachedDevice, IommufdTracker } from "./iommufd/iommufd_tracker.ts";
export { LogTracker } from "./log/log_tracker.ts";
export {
  MappedDevice,
  type MappedDeviceOptions,
  type MemoryOptions,
  type RangeToMap,
  type SessionFds,
  type SessionMapping,
} from "./mapped_device.ts";
export type { MemoryFile } from "./memory_file.ts";
export { WriteProtection } from "./protection/write_protection.ts";
export { WriteProtectionError } from "./protection/write_protection_error.ts";
export {
  demandPagemapScan,
  type ProtectedMemory,
  type ProtectedRange,
} from "./protection/written_pages.ts";
export { DirtyRangeError } from "./range_error.ts";
export { type DirtyRange, DirtyReading, type TrackingVerdict } from "./reading.ts";
export { DirtySession, type DirtySessionOptions } from "./session.ts";
export type { DirtyTracker, ReadOptions, TrackerName, UnmapReading } from "./tracker.ts";
export { Type1Tracker } from "./type1/type1_tracker.ts";
