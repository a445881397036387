/**
 * VFIO below migration: opening devices, their regions and features, type1 containers and iommufd,
 * memory for DMA, what sysfs says, and why something cannot be opened or tracked.
 *
 * {@linkcode probe} says whether a device can migrate, which dirty tracking it has, and, if it
 * cannot be opened, why and what to do. {@linkcode openVfioDevice} opens a device, by its own
 * character device or by its group. A {@linkcode VfioDevice} has the device's regions and
 * features; {@linkcode Type1Container} and {@linkcode Ioas} are its two kinds of address space.
 *
 * Everything throws an {@linkcode UnsupportedError} if the device or the kernel cannot do
 * something, a {@linkcode BusyError} if something else has the device, and an {@linkcode OpenError}
 * if this attempt failed. An {@linkcode AnswerError} says that a driver gave an answer that cannot
 * be true.
 *
 * @example
 * ```ts
 * import { openVfioDevice, parseDeviceName, probe } from "vfiokit/vfio";
 * import { SimKernel } from "vfiokit/sim";
 * import assert from "node:assert/strict";
 *
 * const report = await probe("sim:mlx5");
 * assert.equal(report.protocol, "v2");
 *
 * const kernel = new SimKernel("sim:mapped?size=1MiB");
 * using device = openVfioDevice(kernel, parseDeviceName(kernel.devices[0]!.path));
 * assert.deepEqual(device.regions().find(({ type }) => type !== null)?.type?.subtype, 1);
 * ```
 *
 * @module
 */

export { shellFile, shellWord } from "../base/shell.ts";
export { AnswerError } from "./device/answer_error.ts";
export {
  type Capability,
  type CapabilityDefect,
  CapabilityError,
} from "./device/capability_chain.ts";
export { type OpenVia, VfioDevice } from "./device/device.ts";
export {
  type FeatureDevice,
  type FeatureReport,
  type MigrationFlag,
  readMigrationFlags,
} from "./device/feature.ts";
export type { DataSectionKind } from "./device/migration_region.ts";
export type { QuirkName } from "./device/quirk.ts";
export type { Region, RegionType, SparseArea } from "./device/region.ts";
export type { AddressSpace, AddressSpaceInfo, DmaMapping } from "./dma/address_space.ts";
export { Type1Container } from "./dma/container.ts";
export { DmaError } from "./dma/dma_error.ts";
export { DmaMemory, type DmaMemoryOptions } from "./dma/dma_memory.ts";
export { Ioas } from "./dma/ioas.ts";
export { Iommufd } from "./dma/iommufd.ts";
export type { IovaMapping, IovaRange } from "./dma/iova.ts";
export type { Type1Info, Type1Migration } from "./dma/type1_info.ts";
export { type DeviceList, listDevices, type ListedDevice, type ListOptions } from "./list.ts";
export type { DriverNoteCode, DriverNoteKind, DriverRule } from "./notes/driver_note_rules.ts";
export { type DriverNote, DriverNotes } from "./notes/driver_notes.ts";
export { type DeviceName, DeviceNameError, parseDeviceName } from "./open/device_name.ts";
export { Group, type GroupStatus } from "./open/group.ts";
export { type LentFds, lentFds, lentIoas } from "./open/lent_fds.ts";
export { openVfioDevice, type OpenVfioOptions } from "./open/open.ts";
export { OpenError } from "./open/open_error.ts";
export { openVfioDevices } from "./open/open_several.ts";
export {
  type AccessReport,
  type DirtyReport,
  probe,
  type ProbeOptions,
  type ProbeReport,
} from "./probe.ts";
export {
  BusyError,
  type Holder,
  type Reason,
  type ReasonCode,
  UnsupportedError,
} from "./reasons/unsupported_error.ts";
export { describeRecovery, isLost, type Recovery } from "./state/recovery.ts";
export type {
  NotedStateReport,
  Protocol,
  StateName,
  StateReport,
  TargetState,
  V1StateName,
  V2StateName,
} from "./state/states.ts";
export type { VfioIdentity } from "./sysfs/identity.ts";
export type { PciIds, SysfsDevice, SysfsGroup } from "./sysfs/sysfs.ts";
export {
  type DowntimePart,
  type DowntimeReport,
  jointStandstill,
  type Standstill,
  standstill,
  type StateChange,
} from "./state/standstill.ts";
