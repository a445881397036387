/**
 * The rules that drivers are seen to break: one table, one code per rule.
 *
 * @module
 */

/** How much a note weighs. */
export type DriverNoteKind =
  /** The driver breaks a rule. */
  | "mistake"
  /** Known drivers do this, and it is harmless. */
  | "practice";

/** A rule that a driver can break. */
export interface DriverRule {
  /** How much it weighs. */
  readonly kind: DriverNoteKind;
  /** The rule, in a sentence. */
  readonly rule: string;
  /** Where it is written: header and struct, ioctl or document. */
  readonly source: string;
}

/** The stable code for what a driver did. */
export type DriverNoteCode =
  // The state.
  | "state-read-failed"
  | "state-undefined"
  | "state-lags"
  | "step-refused-once"
  | "recovery-refused"
  | "reset-failed"
  | "reset-ignored"
  | "stop-at-open"
  | "reserved-bits-lost"
  | "get-data-fd"
  | "fd-not-due"
  | "data-fd-close"
  // What the device reports that it can do.
  | "migration-flags-failed"
  | "flags-undefined"
  | "flags-no-stop-copy"
  | "region-broken"
  | "sparse-area"
  | "mmap-failed"
  // v1: the registers and the data section.
  | "pending-grows"
  | "pending-returned"
  | "pending-dropped"
  | "data-size-zero"
  | "data-size-over-pending"
  | "data-offset-unaligned"
  | "short-transfer"
  | "region-not-ready"
  | "state-empty"
  // v2: pre-copy.
  | "precopy-info-missing"
  | "precopy-info-failed"
  | "precopy-info-flags"
  | "precopy-info-wraps"
  | "precopy-opt-in-refused"
  | "precopy-reinit"
  | "initial-bytes-zero"
  | "initial-bytes-not-falling"
  | "initial-bytes-left"
  | "dirty-bytes-first"
  | "precopy-stalled"
  | "drained-zero"
  // v2: the data fd.
  | "stop-copy-empty"
  | "mig-data-size"
  | "mig-data-size-failed"
  | "short-read"
  | "short-write"
  | "poll-ready"
  // Known drivers, by their profiles.
  | "quirk-stop-at-open"
  | "quirk-reset-keeps-state"
  | "quirk-data-size";

const V1 = "linux/vfio.h of Linux 5.8, struct vfio_device_migration_info";
const STATE = "linux/vfio.h, struct vfio_device_feature_mig_state";
const ARCS = "linux/vfio.h, enum vfio_device_mig_state";
const PRECOPY = "linux/vfio.h, struct vfio_precopy_info";

/** The driver breaks a rule. */
function mistake(rule: string, source: string): DriverRule {
  return { kind: "mistake", rule, source };
}

/** Known drivers do so. */
function practice(rule: string, source: string): DriverRule {
  return { kind: "practice", rule, source };
}

/** Each code's rule. */
export const DRIVER_RULES: Readonly<Record<DriverNoteCode, DriverRule>> = {
  "state-read-failed": mistake(
    "the state can be read at any time",
    `${STATE} (v1: struct vfio_device_migration_info, device_state)`,
  ),
  "state-undefined": mistake(
    "the state is one that the header defines",
    `${ARCS} (v1: struct vfio_device_migration_info, device_state)`,
  ),
  "state-lags": mistake(
    "the device is in the new state before the call that asks for it returns",
    `${STATE} (v1: struct vfio_device_migration_info, device_state)`,
  ),
  "step-refused-once": mistake(
    "a step of the state machine succeeds when it is requested",
    `${ARCS} (v1: struct vfio_device_migration_info, "State transitions")`,
  ),
  "recovery-refused": mistake(
    "a step of the state machine succeeds from the state that it starts in",
    `${ARCS} (v1: struct vfio_device_migration_info, "State transitions")`,
  ),
  "reset-failed": mistake(
    "VFIO_DEVICE_RESET brings the device back to RUNNING from any state",
    `${ARCS}, "any -> ERROR"`,
  ),
  "reset-ignored": mistake(
    "a device is in RUNNING after VFIO_DEVICE_RESET has succeeded",
    `${ARCS}, "any -> ERROR"`,
  ),
  "stop-at-open": mistake(
    "the default state of a device is _RUNNING when the user application starts",
    `${V1}, "State transitions"`,
  ),
  "reserved-bits-lost": mistake(
    "bits 3 to 31 of device_state are reserved, and preserved from one step to the next",
    `${V1}, device_state`,
  ),
  "get-data-fd": mistake(
    "upon VFIO_DEVICE_FEATURE_GET data_fd is -1",
    STATE,
  ),
  "fd-not-due": mistake(
    "only a step that begins a data transfer session returns an fd",
    STATE,
  ),
  "data-fd-close": mistake("closing a data fd ends the session, and does not fail", STATE),

  "migration-flags-failed": mistake(
    "VFIO_DEVICE_FEATURE_MIGRATION can be read if the device migrates",
    "linux/vfio.h, struct vfio_device_feature_migration",
  ),
  "flags-undefined": mistake(
    "only combinations of flags that the header defines have a meaning",
    "linux/vfio.h, struct vfio_device_feature_migration",
  ),
  "flags-no-stop-copy": mistake(
    "at least VFIO_MIGRATION_STOP_COPY must be set",
    "linux/vfio.h, struct vfio_device_feature_migration",
  ),
  "region-broken": mistake(
    "VFIO_DEVICE_GET_REGION_INFO describes every region, with capabilities inside its answer",
    "linux/vfio.h, struct vfio_region_info",
  ),
  "sparse-area": mistake(
    "the areas that can be mapped are whole pages inside the region",
    "linux/vfio.h, struct vfio_region_info_cap_sparse_mmap",
  ),
  "mmap-failed": mistake(
    "a region with VFIO_REGION_INFO_FLAG_MMAP supports mmap",
    "linux/vfio.h, struct vfio_region_info",
  ),

  "pending-grows": mistake(
    "pending_bytes is what is still to be migrated: it does not grow while the device is stopped",
    `${V1}, pending_bytes`,
  ),
  "pending-returned": mistake(
    "a stopped device has no more state to give once its pending_bytes is 0",
    `${V1}, pending_bytes`,
  ),
  "pending-dropped": mistake(
    "pending_bytes of a stopped device falls by the data that is read, and by no more",
    `${V1}, pending_bytes`,
  ),
  "data-size-zero": mistake(
    "if pending_bytes is above 0, data_size is the amount of available data",
    `${V1}, steps a to c of saving`,
  ),
  "data-size-over-pending": mistake(
    "pending_bytes is what is still to be migrated, which includes the data of data_size",
    `${V1}, pending_bytes`,
  ),
  "data-offset-unaligned": mistake(
    "if the data section is mapped, data_offset must be page aligned",
    `${V1}, data section`,
  ),
  "short-transfer": mistake(
    "a read of data_offset returns only after all of the data is available",
    `${V1}, steps b and d of saving; QEMU treats a short read or write as a failure`,
  ),
  "region-not-ready": mistake(
    "a read of data_offset returns only after the data is available, so it needs no retry",
    `${V1}, step b of saving`,
  ),
  "state-empty": mistake(
    "in stop-and-copy the driver sends the device's state through the region",
    `${V1}, "State transitions"`,
  ),

  "precopy-info-missing": mistake(
    "VFIO_MIG_GET_PRECOPY_INFO is mandatory for a driver with VFIO_MIGRATION_PRE_COPY",
    PRECOPY,
  ),
  "precopy-info-failed": mistake(
    "VFIO_MIG_GET_PRECOPY_INFO is valid in the PRE_COPY states",
    PRECOPY,
  ),
  "precopy-info-flags": mistake(
    "flags has only bits that the header defines and that MIG_PRECOPY_INFOv2 enabled",
    `${PRECOPY}, flags`,
  ),
  "precopy-opt-in-refused": mistake(
    "a feature that VFIO_DEVICE_FEATURE_PROBE reports as settable can be set",
    "linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2",
  ),
  "precopy-info-wraps": mistake(
    "initial_bytes and dirty_bytes are numbers of bytes",
    PRECOPY,
  ),
  "precopy-reinit": mistake(
    "VFIO_PRECOPY_INFO_REINIT means that there are new initial bytes and no dirty bytes",
    "linux/vfio.h of Linux 7.1, VFIO_PRECOPY_INFO_REINIT",
  ),
  "initial-bytes-zero": mistake(
    "initial_bytes should have a non-zero initial value",
    `${PRECOPY}, initial_bytes`,
  ),
  "initial-bytes-not-falling": mistake(
    "initial_bytes should decrease as migration data is read from the device",
    `${PRECOPY}, initial_bytes`,
  ),
  "initial-bytes-left": mistake(
    "initial_bytes counts available data: it is 0 once that data was read",
    `${PRECOPY}, initial_bytes`,
  ),
  "dirty-bytes-first": mistake("dirty_bytes starts at zero", `${PRECOPY}, dirty_bytes`),
  "precopy-stalled": mistake(
    "initial_bytes and dirty_bytes count data that can be read",
    PRECOPY,
  ),
  "drained-zero": practice(
    "a read() that finds no more data in PRE_COPY should fail with ENOMSG; some drivers return 0",
    PRECOPY,
  ),

  "stop-copy-empty": mistake(
    "in STOP_COPY the device's internal state can be read, up to the end of the stream",
    `${ARCS}, "STOP -> STOP_COPY"`,
  ),
  "mig-data-size": mistake(
    "MIG_DATA_SIZE is the estimated data length that will be required to complete stop copy",
    "linux/vfio.h, struct vfio_device_feature_mig_data_size",
  ),
  "mig-data-size-failed": mistake(
    "MIG_DATA_SIZE can be called on each device state",
    "linux/vfio.h, struct vfio_device_feature_mig_data_size",
  ),
  "short-read": practice(
    "read() may return less than requested; most drivers fill the buffer",
    "read(2)",
  ),
  "short-write": practice(
    "write() may accept less than it is given; most drivers accept all of it",
    "write(2)",
  ),
  "poll-ready": mistake(
    "if poll() reports a data fd as ready, read() and write() do not fail with EAGAIN",
    "poll(2), read(2), write(2)",
  ),

  "quirk-stop-at-open": practice(
    "device_state is _RUNNING when the user application starts; this driver leaves it 0",
    `${V1}, "State transitions"`,
  ),
  "quirk-reset-keeps-state": practice(
    "VFIO_DEVICE_RESET sets device_state to _RUNNING; this driver leaves it as it is",
    `${V1}, device_state`,
  ),
  "quirk-data-size": practice(
    "data_size is the amount of available data; with this driver, all pending data is available",
    `${V1}, steps a to c of saving`,
  ),
};
