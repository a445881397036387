/**
 * Structs of groups, devices and regions (linux/vfio.h).
 *
 * @module
 */

import { struct, tail } from "./codec.ts";
import type { StructCodec } from "./struct_types.ts";

/** `struct vfio_info_cap_header`: the start of every capability. */
export interface VfioInfoCapHeader {
  /** The capability's id; each info struct has its own ids. */
  id: number;
  /** Version of this capability. */
  version: number;
  /** Offset of the next one from the start of the info struct; 0 at the end. */
  next: number;
}

/**
 * `struct vfio_info_cap_header`, 8 bytes.
 *
 * A capability may lie at any offset: before Linux 6.6, capabilities follow each
 * other without alignment.
 */
export const vfioInfoCapHeader: StructCodec<VfioInfoCapHeader> = struct("vfio_info_cap_header", {
  id: "u16",
  version: "u16",
  next: "u32",
});

/** `struct vfio_group_status`: the answer to VFIO_GROUP_GET_STATUS. */
export interface VfioGroupStatus {
  /** Size of the struct in bytes. */
  argsz: number;
  /** `VFIO_GROUP_FLAGS_*`. */
  flags: number;
}

/** `struct vfio_group_status`, 8 bytes. */
export const vfioGroupStatus: StructCodec<VfioGroupStatus> = struct("vfio_group_status", {
  argsz: "argsz",
  flags: "u32",
});

/** `struct vfio_device_info`: the answer to VFIO_DEVICE_GET_INFO. */
export interface VfioDeviceInfo {
  /** Size of the struct in bytes; in the answer, the size needed with all capabilities. */
  argsz: number;
  /** `VFIO_DEVICE_FLAGS_*`. */
  flags: number;
  /** The highest region index, plus 1. */
  num_regions: number;
  /** The highest interrupt index, plus 1. */
  num_irqs: number;
  /** Offset of the first capability from the start of the struct; 0 if there is none. */
  cap_offset: number;
}

/**
 * `struct vfio_device_info`, 20 bytes as in Linux 6.1. The kernel requires at
 * least 16. See {@linkcode vfioDeviceInfoPadded} for later kernels.
 *
 * @example
 * ```ts
 * import { vfioDeviceInfo } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const bytes = vfioDeviceInfo.pack({}); // argsz is filled in
 * assert.equal(vfioDeviceInfo.unpack(bytes).argsz, 20);
 * ```
 */
export const vfioDeviceInfo: StructCodec<VfioDeviceInfo> = struct("vfio_device_info", {
  argsz: "argsz",
  flags: "u32",
  num_regions: "u32",
  num_irqs: "u32",
  cap_offset: "u32",
});

/** `struct vfio_device_info` of Linux 6.6 and later. */
export interface VfioDeviceInfoPadded extends VfioDeviceInfo {
  /** Not used: rounds the struct up to 8 bytes. */
  pad: number;
}

/** `struct vfio_device_info`, 24 bytes as in Linux 6.6 and later. */
export const vfioDeviceInfoPadded: StructCodec<VfioDeviceInfoPadded> = struct("vfio_device_info", {
  argsz: "argsz",
  flags: "u32",
  num_regions: "u32",
  num_irqs: "u32",
  cap_offset: "u32",
  pad: "u32",
});

/** `struct vfio_region_info`: the answer to VFIO_DEVICE_GET_REGION_INFO. */
export interface VfioRegionInfo {
  /** Size of the struct in bytes; in the answer, the size needed with all capabilities. */
  argsz: number;
  /** `VFIO_REGION_INFO_FLAG_*`. */
  flags: number;
  /** The region's index. */
  index: number;
  /** Offset of the first capability from the start of the struct; 0 if there is none. */
  cap_offset: number;
  /** Size of the region in bytes; 0 if there is no such region. */
  size: bigint;
  /** Where the region begins in the device's fd, for pread, pwrite and mmap. */
  offset: bigint;
}

/** `struct vfio_region_info`, 32 bytes. */
export const vfioRegionInfo: StructCodec<VfioRegionInfo> = struct("vfio_region_info", {
  argsz: "argsz",
  flags: "u32",
  index: "u32",
  cap_offset: "u32",
  size: "u64",
  offset: "u64",
});

/** `struct vfio_region_sparse_mmap_area`: a part of a region that may be mapped. */
export interface VfioRegionSparseMmapArea {
  /** Where it begins in the region, in bytes. */
  offset: bigint;
  /** Size in bytes. */
  size: bigint;
}

/** `struct vfio_region_sparse_mmap_area`, 16 bytes. */
export const vfioRegionSparseMmapArea: StructCodec<VfioRegionSparseMmapArea> = struct(
  "vfio_region_sparse_mmap_area",
  { offset: "u64", size: "u64" },
);

/** `struct vfio_region_info_cap_sparse_mmap`: which parts of a region may be mapped. */
export interface VfioRegionInfoCapSparseMmap {
  /** Id VFIO_REGION_INFO_CAP_SPARSE_MMAP, version 1. */
  header: VfioInfoCapHeader;
  /** How many areas there are. */
  nr_areas: number;
  /** Not used. */
  reserved: number;
  /** The areas, in any order. */
  areas: readonly VfioRegionSparseMmapArea[];
}

/** `struct vfio_region_info_cap_sparse_mmap`, 16 bytes, and 16 per area. */
export const vfioRegionInfoCapSparseMmap: StructCodec<VfioRegionInfoCapSparseMmap> = struct(
  "vfio_region_info_cap_sparse_mmap",
  {
    header: vfioInfoCapHeader,
    nr_areas: "u32",
    reserved: "u32",
    areas: tail(vfioRegionSparseMmapArea, "nr_areas"),
  },
);

/** `struct vfio_region_info_cap_type`: the type of a region that the device defines. */
export interface VfioRegionInfoCapType {
  /** Id VFIO_REGION_INFO_CAP_TYPE, version 1. */
  header: VfioInfoCapHeader;
  /** `VFIO_REGION_TYPE_*`. */
  type: number;
  /** `VFIO_REGION_SUBTYPE_*` of that type. */
  subtype: number;
}

/** `struct vfio_region_info_cap_type`, 16 bytes. */
export const vfioRegionInfoCapType: StructCodec<VfioRegionInfoCapType> = struct(
  "vfio_region_info_cap_type",
  { header: vfioInfoCapHeader, type: "u32", subtype: "u32" },
);

/** `struct vfio_irq_info`: the answer to VFIO_DEVICE_GET_IRQ_INFO. */
export interface VfioIrqInfo {
  /** Size of the struct in bytes. */
  argsz: number;
  /** `VFIO_IRQ_INFO_*`. */
  flags: number;
  /** The interrupt index. */
  index: number;
  /** How many there are; 0 if the device has none of them. */
  count: number;
}

/** `struct vfio_irq_info`, 16 bytes. */
export const vfioIrqInfo: StructCodec<VfioIrqInfo> = struct("vfio_irq_info", {
  argsz: "argsz",
  flags: "u32",
  index: "u32",
  count: "u32",
});

/** `struct vfio_irq_set`: the argument of VFIO_DEVICE_SET_IRQS. */
export interface VfioIrqSet {
  /** Size of the struct in bytes, with `data`. */
  argsz: number;
  /** `VFIO_IRQ_SET_*`: one DATA and one ACTION. */
  flags: number;
  /** The interrupt index. */
  index: number;
  /** The first of its interrupts that this is about. */
  start: number;
  /** How many. */
  count: number;
  /** A bool (u8) or an eventfd (s32) for each, as the flags say. */
  data: Uint8Array;
}

/** `struct vfio_irq_set`, 20 bytes and the data. */
export const vfioIrqSet: StructCodec<VfioIrqSet> = struct("vfio_irq_set", {
  argsz: "argsz",
  flags: "u32",
  index: "u32",
  start: "u32",
  count: "u32",
  data: tail("u8", "argsz"),
});

/** `struct vfio_device_migration_info`: the registers at the start of the v1 migration region. */
export interface VfioDeviceMigrationInfo {
  /** `VFIO_DEVICE_STATE_V1_*`; bits 3 to 31 are reserved and must be preserved. */
  device_state: number;
  /** Not used. */
  reserved: number;
  /** Bytes that are still to be read from the driver; read-only. */
  pending_bytes: bigint;
  /** Where in the region the data of this iteration lies; read-only. */
  data_offset: bigint;
  /** Size of that data in bytes: read while saving, written while resuming. */
  data_size: bigint;
}

/**
 * `struct vfio_device_migration_info`, 32 bytes. Registers are read and written
 * one at a time, each at its own width; the codec is for their offsets, and for
 * a copy of them in memory.
 */
export const vfioDeviceMigrationInfo: StructCodec<VfioDeviceMigrationInfo> = struct(
  "vfio_device_migration_info",
  {
    device_state: "u32",
    reserved: "u32",
    pending_bytes: "u64",
    data_offset: "u64",
    data_size: "u64",
  },
);
