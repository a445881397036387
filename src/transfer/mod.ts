/**
 * Saving devices to checkpoints, and restoring them. Reached from outside through
 * `vfiokit`.
 *
 * @module
 */

export {
  type DeviceOutcome,
  type LiveErrorCode,
  TransferError,
  type TransferErrorCode,
  type TransferErrorInfo,
} from "./transfer_error.ts";
export { checkIdentity } from "./identity/check_identity.ts";
export { IdentityError } from "./identity/identity_error.ts";
export type { DeviceReport, PhaseReport, SaveReport, TransferReport } from "./report.ts";
export { restore, type RestoreOptions } from "./restore.ts";
export type { TransferProgress, TransferStep } from "./progress/progress_reports.ts";
export { save, type SaveOptions } from "./save.ts";
export type { CheckpointSink, RestoreSource } from "./sinks_and_sources.ts";
