/**
 * Drives one device's migration: its states, the phases as streams, several devices opened
 * together. Users reach it through `vfiokit`.
 *
 * @module
 */

export {
  type DeviceClosedCode,
  DeviceClosedError,
  type DeviceClosedErrorInfo,
} from "./closed_error.ts";
export {
  type AnyWorker,
  type DataFdSockets,
  Device,
  type DeviceDescription,
  type DeviceThreadOptions,
  type MemoryDescription,
  type OnError,
  openDevice,
  type OpenOptions,
  type Progress,
  type RecoveryMode,
  type TrackerDescription,
} from "./device.ts";
export { DirtyTracking } from "./dirty_tracking.ts";
export {
  MigrationError,
  type MigrationErrorCode,
  type MigrationErrorInfo,
} from "./migration_error.ts";
export { type OpenDevices, openDevices, type OpenDevicesOptions } from "./open_devices.ts";
export { precopy } from "./phases/precopy.ts";
export { resume, type ResumeOptions } from "./phases/resume.ts";
export { stopAndCopy } from "./phases/stop_and_copy.ts";
export { type PrecopyOptions } from "./protocol/precopy_limits.ts";
export type { PrecopyEnd, PrecopyReport, PrecopyRound } from "../vfio/state/precopy_report.ts";
export { serveDevice } from "./thread/serve_device.ts";
