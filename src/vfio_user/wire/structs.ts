/**
 * The payloads of vfio-user's messages, behind the header (vfio-user.h of libvfio-user). Data, JSON
 * and bitmaps follow the structs. What is not here has the layout of the ioctl's own struct:
 * vfio_region_info, vfio_irq_info, vfio_irq_set, vfio_device_feature, vfio_precopy_info.
 *
 * @module
 */

import { struct } from "../../uapi/codec.ts";
import type { StructCodec } from "../../uapi/struct_types.ts";

/** `struct vfio_user_version`. */
export interface VfioUserVersion {
  /** The major version: 0. */
  major: number;
  /** The minor version. */
  minor: number;
}

/** `struct vfio_user_version`, 4 bytes; the capabilities follow, as JSON and a NUL. */
export const vfioUserVersion: StructCodec<VfioUserVersion> = struct("vfio_user_version", {
  major: "u16",
  minor: "u16",
});

/** `struct vfio_user_device_info`. */
export interface VfioUserDeviceInfo {
  /** In a request, the largest reply in bytes; in a reply, the size of this struct. */
  argsz: number;
  /** `VFIO_DEVICE_FLAGS_*`. */
  flags: number;
  /** The highest region index + 1. */
  num_regions: number;
  /** The highest interrupt index + 1. */
  num_irqs: number;
}

/** `struct vfio_user_device_info`, 16 bytes. */
export const vfioUserDeviceInfo: StructCodec<VfioUserDeviceInfo> = struct("vfio_user_device_info", {
  argsz: "argsz",
  flags: "u32",
  num_regions: "u32",
  num_irqs: "u32",
});

/** `struct vfio_user_dma_map`. */
export interface VfioUserDmaMap {
  /** Size of the struct in bytes: the reply has no payload. */
  argsz: number;
  /** `VFIO_USER_F_DMA_REGION_*`. */
  flags: number;
  /** Where the memory begins in the fd that goes with the message, in bytes. */
  offset: bigint;
  /** Address that the device uses. */
  addr: bigint;
  /** Bytes. */
  size: bigint;
}

/** `struct vfio_user_dma_map`, 32 bytes. */
export const vfioUserDmaMap: StructCodec<VfioUserDmaMap> = struct("vfio_user_dma_map", {
  argsz: "argsz",
  flags: "u32",
  offset: "u64",
  addr: "u64",
  size: "u64",
});

/** `struct vfio_user_dma_unmap`. */
export interface VfioUserDmaUnmap {
  /** In a request, the largest reply in bytes. */
  argsz: number;
  /** `VFIO_DMA_UNMAP_FLAG_*`; 0 in protocol 0.1. */
  flags: number;
  /** Address that the device uses: that of a mapping. */
  addr: bigint;
  /** Bytes: all of the mapping. */
  size: bigint;
}

/** `struct vfio_user_dma_unmap`, 24 bytes; the reply has the same. */
export const vfioUserDmaUnmap: StructCodec<VfioUserDmaUnmap> = struct("vfio_user_dma_unmap", {
  argsz: "argsz",
  flags: "u32",
  addr: "u64",
  size: "u64",
});

/** `struct vfio_user_region_access`: REGION_READ, REGION_WRITE and their replies. */
export interface VfioUserRegionAccess {
  /** Offset in the region, in bytes. */
  offset: bigint;
  /** The region's index. */
  region: number;
  /** Bytes of data. */
  count: number;
}

/** `struct vfio_user_region_access`, 16 bytes; the data follows. */
export const vfioUserRegionAccess: StructCodec<VfioUserRegionAccess> = struct(
  "vfio_user_region_access",
  { offset: "u64", region: "u32", count: "u32" },
);

/** `struct vfio_user_dma_region_access`: DMA_READ, DMA_WRITE and their replies. */
export interface VfioUserDmaRegionAccess {
  /** Address that the device uses. */
  addr: bigint;
  /** Bytes of data. */
  count: bigint;
}

/** `struct vfio_user_dma_region_access`, 16 bytes; the data follows. */
export const vfioUserDmaRegionAccess: StructCodec<VfioUserDmaRegionAccess> = struct(
  "vfio_user_dma_region_access",
  { addr: "u64", count: "u64" },
);

/** `struct vfio_user_region_io_fds_request`, and the head of its reply. */
export interface VfioUserRegionIoFds {
  /** In a request, the largest reply in bytes; in a reply, its size. */
  argsz: number;
  /** 0. */
  flags: number;
  /** The region's index. */
  index: number;
  /** In a reply, the number of sub-regions that follow, 40 bytes each. */
  count: number;
}

/** `struct vfio_user_region_io_fds_request`, 16 bytes. */
export const vfioUserRegionIoFds: StructCodec<VfioUserRegionIoFds> = struct(
  "vfio_user_region_io_fds_request",
  { argsz: "argsz", flags: "u32", index: "u32", count: "u32" },
);

/** The head of REGION_WRITE_MULTI, and its reply. */
export interface VfioUserWriteMulti {
  /** The number of writes: those that follow, or those that were made. */
  wr_cnt: bigint;
}

/** The head of REGION_WRITE_MULTI, 8 bytes; the writes follow, 24 bytes each. */
export const vfioUserWriteMulti: StructCodec<VfioUserWriteMulti> = struct("vfio_user_wr_multi", {
  wr_cnt: "u64",
});

/** `struct vfio_user_device_feature`: the head of DEVICE_FEATURE and its reply. */
export interface VfioUserDeviceFeature {
  /** In a request, the largest reply in bytes; in a reply, its size. */
  argsz: number;
  /** The feature's number and `VFIO_DEVICE_FEATURE_GET`, `_SET`, `_PROBE`. */
  flags: number;
}

/** `struct vfio_user_device_feature`, 8 bytes; the feature's own data follows. */
export const vfioUserDeviceFeature: StructCodec<VfioUserDeviceFeature> = struct(
  "vfio_user_device_feature",
  { argsz: "argsz", flags: "u32" },
);

/** `struct vfio_user_device_feature_dma_logging_control`: starts the device's log. */
export interface VfioUserDmaLoggingControl {
  /** Bytes per bit that the client wants; in the reply, bytes per bit that the log uses. */
  page_size: bigint;
  /** The number of ranges that follow; 0 for all addresses. */
  num_ranges: number;
  /** 0. */
  reserved: number;
}

/**
 * `struct vfio_user_device_feature_dma_logging_control`, 16 bytes; the ranges follow, each a struct
 * vfio_device_feature_dma_logging_range.
 */
export const vfioUserDmaLoggingControl: StructCodec<VfioUserDmaLoggingControl> = struct(
  "vfio_user_device_feature_dma_logging_control",
  { page_size: "u64", num_ranges: "u32", reserved: "u32" },
);

/** `struct vfio_user_device_feature_dma_logging_report`: reads and clears the device's log. */
export interface VfioUserDmaLoggingReport {
  /** The first address, as the device uses it. */
  iova: bigint;
  /** Bytes from there on. */
  length: bigint;
  /** Bytes per bit. */
  page_size: bigint;
}

/** `struct vfio_user_device_feature_dma_logging_report`, 24 bytes; in the reply the bitmap follows. */
export const vfioUserDmaLoggingReport: StructCodec<VfioUserDmaLoggingReport> = struct(
  "vfio_user_device_feature_dma_logging_report",
  { iova: "u64", length: "u64", page_size: "u64" },
);

/** `struct vfio_user_mig_data`: MIG_DATA_READ, MIG_DATA_WRITE and their replies. */
export interface VfioUserMigData {
  /** In a request, the largest reply in bytes; in a reply, its size. */
  argsz: number;
  /** Bytes of data. */
  size: number;
}

/** `struct vfio_user_mig_data`, 8 bytes; the data follows. */
export const vfioUserMigData: StructCodec<VfioUserMigData> = struct("vfio_user_mig_data", {
  argsz: "argsz",
  size: "u32",
});
