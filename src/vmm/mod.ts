/**
 * Virtual machine monitors: their VFIO devices while they run, and in their files.
 *
 * {@linkcode readQemuStream} reads what QEMU's `migrate` wrote to a file, and {@linkcode stateOfDevices}
 * makes transactions of the state of its devices, which `encodeCheckpoint` takes.
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
export {
  type ImportedDevice,
  importedIdentity,
  protocolOfMachine,
  stateOfDevices,
} from "./qemu/import_state.ts";
