/**
 * vfiokit saves, restores and inspects VFIO devices by talking to the Linux kernel through libc
 * alone: no compiled addon, no daemon, no virtual machine.
 *
 * Open a device with {@linkcode openDevice}, then {@linkcode save} it to a checkpoint and
 * {@linkcode restore} it, or compose the phases {@linkcode precopy}, {@linkcode stopAndCopy} and
 * {@linkcode resume}, which are Web streams. {@linkcode probe} says whether and why a device can
 * migrate. Names that begin with `sim:` are devices of a simulated kernel.
 *
 * Each error that the library throws on purpose is a {@linkcode VfiokitError} with a `code` and a
 * `hint`; those about a device say what state it is in now.
 *
 * The layers below have front doors of their own:
 *
 * | subpath        | what it has                                                     |
 * | -------------- | --------------------------------------------------------------- |
 * | `./checkpoint` | the checkpoint's bytes and files                                |
 * | `./dirty`      | dirty pages: sessions, trackers, bitmaps, forecast              |
 * | `./vfio`       | devices, groups, containers, iommufd, DMA memory, sysfs         |
 * | `./live`       | live migration of devices and their memory                       |
 * | `./check`      | what a migration driver is judged by                            |
 * | `./server`     | simulated devices for other processes                           |
 * | `./vmm`        | devices of virtual machine monitors, and their files            |
 * | `./sim`        | the simulated kernel                                            |
 * | `./trace`      | a kernel that records each call                                 |
 * | `./kernel`     | the interface to a kernel, and libc behind it                   |
 * | `./uapi`       | the kernel's headers: request numbers, constants, struct layouts |
 * | `./cli`        | the command line                                                |
 *
 * @example
 * ```ts
 * import { openDevice, resume, stopAndCopy } from "vfiokit";
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

export { cleanupErrors, firstError } from "./src/base/cleanup.ts";
export { printable } from "./src/base/printable.ts";
export { VERSION } from "./src/base/version.ts";
export { ThreadError } from "./src/base/thread_error.ts";
export { type Hint, type Remedy, VfiokitError } from "./src/base/vfiokit_error.ts";
export {
  BusyError,
  type DriverNote,
  OpenError,
  probe,
  type Recovery,
  type StateName,
  type StateReport,
  UnsupportedError,
} from "./src/vfio/mod.ts";
export {
  CheckpointError,
  CheckpointFileError,
  createCheckpointFile,
  openCheckpointFile,
  ReadBackError,
  type Transaction,
  verifyCheckpoint,
} from "./src/checkpoint/mod.ts";
export {
  type Device,
  DeviceClosedError,
  type DirtyTracking,
  MigrationError,
  openDevice,
  type OpenDevices,
  openDevices,
  type OpenOptions,
  precopy,
  type PrecopyOptions,
  type Progress,
  resume,
  serveDevice,
  stopAndCopy,
} from "./src/migration/mod.ts";
export {
  checkIdentity,
  type CheckpointSink,
  IdentityError,
  restore,
  type RestoreOptions,
  type RestoreSource,
  save,
  type SaveOptions,
  type SaveReport,
  TransferError,
  type TransferProgress,
  type TransferReport,
} from "./src/transfer/mod.ts";
