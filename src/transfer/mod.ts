/**
 * Saving devices to checkpoints, and restoring them. Reached from outside through
 * `@vfiokit/vfiokit`.
 *
 * @module
 */

export { type DeviceOutcome, DevicesError, type DevicesErrorInfo } from "./devices_error.ts";
export { checkIdentity } from "./identity/identity.ts";
export { IdentityError } from "./identity/identity_error.ts";
export type {
  DeviceReport,
  JointReport,
  JointSaveReport,
  PhaseReport,
  SaveReport,
  TransferReport,
} from "./report.ts";
export { restore, type RestoreOptions, type RestoreSource } from "./restore.ts";
export { restoreAll } from "./restore_all.ts";
export { type CheckpointSink, save, type SaveOptions } from "./save.ts";
export { saveAll } from "./save_all.ts";
