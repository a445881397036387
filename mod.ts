/**
 * vfiokit drives VFIO device migration by talking to the Linux kernel through
 * libc alone.
 *
 * Open a device with {@linkcode openDevice}, then {@linkcode save} it to a
 * checkpoint and {@linkcode restore} it, or compose the phases
 * {@linkcode precopy}, {@linkcode stopAndCopy} and {@linkcode resume}, which
 * are Web streams. {@linkcode probe} says whether and why a device can migrate.
 * Names that begin with `sim:` are devices of a simulated kernel.
 *
 * @example
 * ```ts
 * import { openDevice, resume, stopAndCopy } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * await using from = await openDevice("sim:mapped?size=1MiB&seed=1");
 * await using to = await openDevice("sim:mapped?size=1MiB&seed=2");
 * await stopAndCopy(from).pipeTo(resume(to));
 * assert.equal((await to.state()).state, "running");
 * ```
 *
 * @module
 */

export { VERSION } from "./src/base/version.ts";

export { type Hint, type Remedy, toHint, VfiokitError } from "./src/base/vfiokit_error.ts";

export * from "./src/uapi/mod.ts";

export { cleanupErrors, firstError } from "./src/base/cleanup.ts";
export { ERRNO, type ErrnoName, errnoName, errnoText } from "./src/kernel/errno_names.ts";
export { isErrno, SysError } from "./src/kernel/sys_error.ts";
export { ClosedError, Fd, openFds } from "./src/kernel/fd.ts";
export type { Kernel, Mapping, MmapOptions, ReceivedMessage } from "./src/kernel/kernel.ts";
export { libcKernel } from "./src/kernel/libc/libc_kernel.ts";
export { printable } from "./src/base/printable.ts";

export * from "./src/sim/mod.ts";

export {
  type DeviceClosedCode,
  DeviceClosedError,
  type DeviceClosedErrorInfo,
} from "./src/migration/closed_error.ts";
export {
  type AnyWorker,
  type DataPlaceFds,
  Device,
  type DeviceDescription,
  type HostOptions,
  type OnError,
  openDevice,
  type OpenOptions,
  type Progress,
  type RecoveryMode,
} from "./src/migration/device.ts";
export { isLost, type Recovery } from "./src/vfio/state/recovery.ts";
export {
  MigrationError,
  type MigrationErrorCode,
  type MigrationErrorInfo,
} from "./src/migration/migration_error.ts";
export {
  type OpenDevices,
  openDevices,
  type OpenDevicesOptions,
} from "./src/migration/open_devices.ts";
export { BATCH_BYTES, recycle, takeBuffer } from "./src/checkpoint/batches/buffer_pool.ts";
export {
  DEFAULT_MAX_ROUNDS,
  type PrecopyOptions,
} from "./src/migration/protocol/precopy_limits.ts";
export { precopy } from "./src/migration/phases/precopy.ts";
export { describeRecovery } from "./src/vfio/state/recovery.ts";
export { resume, type ResumeOptions } from "./src/migration/phases/resume.ts";
export { serveDevice } from "./src/migration/thread/serve_device.ts";
export { stopAndCopy } from "./src/migration/phases/stop_and_copy.ts";
export type { DeviceIdentity } from "./src/checkpoint/metadata/device_identity.ts";
export type {
  NotedStateReport,
  Protocol,
  StateName,
  StateReport,
  TargetState,
  V1StateName,
  V2StateName,
} from "./src/vfio/state/states.ts";
export type { Phase, Transaction } from "./src/checkpoint/batches/transaction.ts";

export type { AddressSpace, AddressSpaceInfo, DmaMapping } from "./src/vfio/dma/address_space.ts";
export { AnswerError } from "./src/vfio/device/answer_error.ts";
export {
  type Capability,
  type CapabilityDefect,
  CapabilityError,
} from "./src/vfio/device/chain.ts";
export { Type1Container } from "./src/vfio/dma/container.ts";
export { type OpenWay, VfioDevice } from "./src/vfio/device/device.ts";
export { type DeviceName, DeviceNameError, parseDeviceName } from "./src/vfio/open/device_name.ts";
export { DmaError } from "./src/vfio/dma/dma_error.ts";
export { DmaMemory, type DmaMemoryOptions } from "./src/vfio/dma/dma_memory.ts";
export {
  type FeatureDevice,
  type FeatureReport,
  type MigrationFlag,
  readMigrationFlags,
} from "./src/vfio/device/feature.ts";
export { type DriverNote, DriverNotes } from "./src/vfio/notes/driver_notes.ts";
export type {
  DriverNoteCode,
  DriverNoteKind,
  DriverRule,
} from "./src/vfio/notes/driver_note_rules.ts";
export { Group, type GroupStatus } from "./src/vfio/open/group.ts";
export type { VfioIdentity } from "./src/vfio/sysfs/identity.ts";
export type { DataSectionKind } from "./src/vfio/device/migration_region.ts";
export { Ioas } from "./src/vfio/dma/ioas.ts";
export { Iommufd } from "./src/vfio/dma/iommufd.ts";
export type { IovaMapping, IovaRange } from "./src/vfio/dma/iova.ts";
export { OpenError } from "./src/vfio/open/open_error.ts";
export type { OpenVfioOptions } from "./src/vfio/open/open.ts";
export { openVfioDevices } from "./src/vfio/open/open_several.ts";
export {
  type AccessReport,
  type DirtyReport,
  probe,
  type ProbeOptions,
  type ProbeReport,
} from "./src/vfio/probe.ts";
export type { QuirkName } from "./src/vfio/device/quirk.ts";
export type { Region, RegionType, SparseArea } from "./src/vfio/device/region.ts";
export type { PciIds, SysfsDevice, SysfsGroup } from "./src/vfio/sysfs/sysfs.ts";
export type { Type1Info, Type1Migration } from "./src/vfio/dma/type1_info.ts";
export {
  BusyError,
  type Holder,
  type Reason,
  type ReasonCode,
  UnsupportedError,
} from "./src/vfio/reasons/unsupported.ts";

export { DirtyBitmap, type DirtyRun } from "./src/dirty/bitmap/bitmap.ts";
export type { BitmapRange } from "./src/dirty/bitmap/bitmap_range.ts";
export {
  type Forecast,
  forecast,
  FORECAST_MAX_ROUNDS,
  type ForecastOptions,
  type ForecastRound,
  type MeasuredRound,
} from "./src/dirty/forecast.ts";
export { LogTracker } from "./src/dirty/log/log_tracker.ts";
export { DirtyRangeError } from "./src/dirty/range_error.ts";
export { type DirtyRange, DirtyReading, type TrackingVerdict } from "./src/dirty/reading.ts";
export {
  MappedDevice,
  type MappedDeviceOptions,
  type SessionFds,
  type SessionMapping,
} from "./src/dirty/mapped_device.ts";
export { DirtySession, type DirtySessionOptions } from "./src/dirty/session.ts";
export type { DirtyTracker, ReadOptions, TrackerName, UnmapReading } from "./src/dirty/tracker.ts";
export { Type1Tracker } from "./src/dirty/type1/type1_tracker.ts";

export {
  type CheckpointDecoder,
  decodeCheckpoint,
  type DecodeOptions,
} from "./src/checkpoint/format/decode.ts";
export {
  type DeviceOutcome,
  DevicesError,
  type DevicesErrorInfo,
} from "./src/transfer/devices_error.ts";
export { encodeCheckpoint } from "./src/checkpoint/format/encode.ts";
export type { EncodeOptions } from "./src/checkpoint/format/encoder.ts";
export { CheckpointError, type CheckpointErrorCode } from "./src/checkpoint/checkpoint_error.ts";
export type { CheckpointFile } from "./src/checkpoint/file/checkpoint_file.ts";
export {
  createCheckpointFile,
  type CreateFileOptions,
} from "./src/checkpoint/file/create_checkpoint_file.ts";
export {
  CheckpointFileError,
  type CheckpointFileErrorInfo,
} from "./src/checkpoint/file/file_error.ts";
export type { CheckpointHeader, DecodedHeader } from "./src/checkpoint/metadata/header.ts";
export { checkIdentity } from "./src/transfer/identity/identity.ts";
export { IdentityError } from "./src/transfer/identity/identity_error.ts";
export {
  type ReadBack,
  ReadBackError,
  type ReadBackErrorInfo,
  type ReadBackProgress,
  type ReadBackReport,
} from "./src/checkpoint/read_back.ts";
export type {
  DeviceReport,
  JointReport,
  JointSaveReport,
  PhaseReport,
  SaveReport,
  TransferReport,
} from "./src/transfer/report.ts";
export { restore, type RestoreOptions, type RestoreSource } from "./src/transfer/restore.ts";
export { restoreAll } from "./src/transfer/restore_all.ts";
export { type CheckpointSink, save, type SaveOptions } from "./src/transfer/save.ts";
export { saveAll } from "./src/transfer/save_all.ts";
export type { CheckpointSource, ReadableFd } from "./src/checkpoint/file/checkpoint_source.ts";
export { openCheckpointFile } from "./src/checkpoint/file/open_checkpoint_file.ts";
export type {
  CheckpointTrailer,
  DeviceTotals,
  PhaseTotals,
} from "./src/checkpoint/metadata/trailer.ts";
export {
  type CheckpointSummary,
  verifyCheckpoint,
  type VerifyOptions,
} from "./src/checkpoint/verify.ts";

export { describeUapi, type StructDescription } from "./src/uapi/registry.ts";
