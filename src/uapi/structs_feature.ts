/**
 * Structs of VFIO_DEVICE_FEATURE: v2 migration and the device's own log of
 * dirty pages (linux/vfio.h).
 *
 * @module
 */

import { struct, tail } from "./codec.ts";
import type { StructCodec } from "./struct_types.ts";

/** `struct vfio_device_feature`: the argument of VFIO_DEVICE_FEATURE. */
export interface VfioDeviceFeature {
  /** Size of the struct in bytes, data included. */
  argsz: number;
  /** The feature's number and `VFIO_DEVICE_FEATURE_GET`, `_SET`, `_PROBE`. */
  flags: number;
  /** The feature's own struct. */
  data: Uint8Array;
}

/**
 * `struct vfio_device_feature`, 8 bytes and the data.
 *
 * @example
 * ```ts
 * import { VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MIGRATION, vfioDeviceFeature, vfioDeviceFeatureMigration } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const bytes = vfioDeviceFeature.pack({
 *   flags: VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION,
 *   data: vfioDeviceFeatureMigration.pack({}), // room for the answer
 * });
 * assert.equal(bytes.length, 16);
 * ```
 */
export const vfioDeviceFeature: StructCodec<VfioDeviceFeature> = struct("vfio_device_feature", {
  argsz: "argsz",
  flags: "u32",
  data: tail("u8", "argsz"),
});

/** `struct vfio_device_feature_migration`: the parts of migration that a device supports. */
export interface VfioDeviceFeatureMigration {
  /** `VFIO_MIGRATION_*`. */
  flags: bigint;
}

/** `struct vfio_device_feature_migration`, 8 bytes. */
export const vfioDeviceFeatureMigration: StructCodec<VfioDeviceFeatureMigration> = struct(
  "vfio_device_feature_migration",
  { flags: "u64" },
);

/** `struct vfio_device_feature_mig_state`: the migration state, and the fd of its data. */
export interface VfioDeviceFeatureMigState {
  /** `VFIO_DEVICE_STATE_*` of v2. */
  device_state: number;
  /** A new fd if the transition opened one, else -1. */
  data_fd: number;
}

/** `struct vfio_device_feature_mig_state`, 8 bytes. */
export const vfioDeviceFeatureMigState: StructCodec<VfioDeviceFeatureMigState> = struct(
  "vfio_device_feature_mig_state",
  { device_state: "u32", data_fd: "s32" },
);

/** `struct vfio_device_feature_dma_logging_range`: addresses to log. */
export interface VfioDeviceFeatureDmaLoggingRange {
  /** The first address, as the device uses it. */
  iova: bigint;
  /** Bytes from there on. */
  length: bigint;
}

/** `struct vfio_device_feature_dma_logging_range`, 16 bytes. */
export const vfioDeviceFeatureDmaLoggingRange: StructCodec<VfioDeviceFeatureDmaLoggingRange> =
  struct("vfio_device_feature_dma_logging_range", { iova: "u64", length: "u64" });

/** `struct vfio_device_feature_dma_logging_control`: starts the device's log. */
export interface VfioDeviceFeatureDmaLoggingControl {
  /** Bytes per bit that the caller wants; in the answer, bytes per bit that the log uses. */
  page_size: bigint;
  /** The number of ranges. */
  num_ranges: number;
  /** Not used, 0. */
  __reserved: number;
  /** Address in the process of an array of struct vfio_device_feature_dma_logging_range. */
  ranges: bigint;
}

/** `struct vfio_device_feature_dma_logging_control`, 24 bytes. */
export const vfioDeviceFeatureDmaLoggingControl: StructCodec<VfioDeviceFeatureDmaLoggingControl> =
  struct("vfio_device_feature_dma_logging_control", {
    page_size: "u64",
    num_ranges: "u32",
    __reserved: "u32",
    ranges: "u64",
  });

/** `struct vfio_device_feature_dma_logging_report`: reads and clears the device's log. */
export interface VfioDeviceFeatureDmaLoggingReport {
  /** The first address, as the device uses it. */
  iova: bigint;
  /** Bytes from there on. */
  length: bigint;
  /** Bytes per bit. */
  page_size: bigint;
  /** Address of the bitmap (u64s) in the process; bits are set in it, never cleared. */
  bitmap: bigint;
}

/** `struct vfio_device_feature_dma_logging_report`, 32 bytes. */
export const vfioDeviceFeatureDmaLoggingReport: StructCodec<VfioDeviceFeatureDmaLoggingReport> =
  struct("vfio_device_feature_dma_logging_report", {
    iova: "u64",
    length: "u64",
    page_size: "u64",
    bitmap: "u64",
  });

/** `struct vfio_device_feature_mig_data_size`: how much data to expect. */
export interface VfioDeviceFeatureMigDataSize {
  /** An estimate of the bytes that STOP_COPY yields. */
  stop_copy_length: bigint;
}

/** `struct vfio_device_feature_mig_data_size`, 8 bytes (Linux 6.2). */
export const vfioDeviceFeatureMigDataSize: StructCodec<VfioDeviceFeatureMigDataSize> = struct(
  "vfio_device_feature_mig_data_size",
  { stop_copy_length: "u64" },
);

/** `struct vfio_precopy_info`: the answer to VFIO_MIG_GET_PRECOPY_INFO. */
export interface VfioPrecopyInfo {
  /** Size of the struct in bytes. */
  argsz: number;
  /**
   * Pass 0. In the answer, `VFIO_PRECOPY_INFO_*` if VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 was
   * set, else the value that was passed.
   */
  flags: number;
  /** An estimate of the initial bytes that are left. */
  initial_bytes: bigint;
  /** An estimate of the bytes that changed since they were read. */
  dirty_bytes: bigint;
}

/** `struct vfio_precopy_info`, 24 bytes (Linux 6.2). */
export const vfioPrecopyInfo: StructCodec<VfioPrecopyInfo> = struct("vfio_precopy_info", {
  argsz: "argsz",
  flags: "u32",
  initial_bytes: "u64",
  dirty_bytes: "u64",
});
