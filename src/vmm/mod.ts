/**
 * Virtual machine monitors: their VFIO devices while they run, and in their files.
 *
 * {@linkcode readQemuStream} reads what QEMU's `migrate` wrote to a file, and {@linkcode stateOfDevices}
 * makes transactions of the state of its devices, which `encodeCheckpoint` takes;
 * {@linkcode readCloudHypervisorSnapshot} and {@linkcode stateOfSnapshot} do so with a snapshot of
 * cloud-hypervisor's.
 *
 * {@linkcode ProcessDevice} is a device that a running one has open.
 *
 * @module
 */

export {
  type PausedVmReport,
  type RepairOptions,
  type RepairReport,
  repairVm,
  whilePaused,
} from "./paused_vm.ts";
export { PausedVmError, type PausedVmErrorCode } from "./paused_vm_error.ts";
export { replaceState, type StateReplacement } from "./replace_state.ts";
export { QmpClient, QmpError, type QmpErrorCode, type QmpOptions } from "./qmp/qmp_client.ts";
export {
  isProcessDevice,
  ProcessDevice,
  ProcessDeviceError,
  type ProcessDeviceErrorCode,
} from "./process_device.ts";
export { fileChunks } from "./file_chunks.ts";
export { VmmFileError, type VmmFileErrorCode } from "./vmm_file_error.ts";
export {
  isQemuStream,
  type QemuDevice,
  type QemuStream,
  readQemuStream,
  type ReadStreamOptions,
  type StateRecord,
} from "./qemu/read_stream.ts";
export { protocolOfMachine, stateOfDevices } from "./qemu/import_state.ts";
export { type DeviceInFile, type ImportedDevice, importedIdentity } from "./imported_identity.ts";
export {
  type BlobText,
  type CloudHypervisorDevice,
  type CloudHypervisorSnapshot,
  readCloudHypervisorSnapshot,
  type ReadSnapshotOptions,
} from "./cloud_hypervisor/read_snapshot.ts";
export {
  type ConfiguredDevice,
  readCloudHypervisorConfig,
} from "./cloud_hypervisor/read_config.ts";
export { stateOfSnapshot } from "./cloud_hypervisor/state_of_snapshot.ts";
