/**
 * Structs of the type1 IOMMU: capabilities, mappings, dirty pages (linux/vfio.h).
 *
 * @module
 */

import { struct, tail } from "./codec.ts";
import type { StructCodec } from "./struct_types.ts";
import { type VfioInfoCapHeader, vfioInfoCapHeader } from "./structs_device.ts";

/** `struct vfio_iommu_type1_info`: the answer to VFIO_IOMMU_GET_INFO. */
export interface VfioIommuType1Info {
  /** Size of the struct in bytes; in the answer, the size needed with all capabilities. */
  argsz: number;
  /** `VFIO_IOMMU_INFO_*`. */
  flags: number;
  /** Page sizes that can be mapped: bit n means 2^n bytes. */
  iova_pgsizes: bigint;
  /** Offset of the first capability from the start of the struct; 0 if there is none. */
  cap_offset: number;
}

/**
 * `struct vfio_iommu_type1_info`, 24 bytes. The last 4 are padding; since Linux
 * 6.6 they have a name, `pad`, and capabilities are padded to 8 bytes.
 */
export const vfioIommuType1Info: StructCodec<VfioIommuType1Info> = struct("vfio_iommu_type1_info", {
  argsz: "argsz",
  flags: "u32",
  iova_pgsizes: "u64",
  cap_offset: "u32",
});

/** `struct vfio_iova_range`: addresses that may be mapped. */
export interface VfioIovaRange {
  /** The first. */
  start: bigint;
  /** The last, inclusive. */
  end: bigint;
}

/** `struct vfio_iova_range`, 16 bytes. */
export const vfioIovaRange: StructCodec<VfioIovaRange> = struct("vfio_iova_range", {
  start: "u64",
  end: "u64",
});

/** `struct vfio_iommu_type1_info_cap_iova_range`: which addresses may be mapped. */
export interface VfioIommuType1InfoCapIovaRange {
  /** Id VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version 1. */
  header: VfioInfoCapHeader;
  /** The number of ranges. */
  nr_iovas: number;
  /** Not used. */
  reserved: number;
  /** The ranges. */
  iova_ranges: readonly VfioIovaRange[];
}

/** `struct vfio_iommu_type1_info_cap_iova_range`, 16 bytes, and 16 per range. */
export const vfioIommuType1InfoCapIovaRange: StructCodec<VfioIommuType1InfoCapIovaRange> = struct(
  "vfio_iommu_type1_info_cap_iova_range",
  {
    header: vfioInfoCapHeader,
    nr_iovas: "u32",
    reserved: "u32",
    iova_ranges: tail(vfioIovaRange, "nr_iovas"),
  },
);

/** `struct vfio_iommu_type1_info_cap_migration`: how dirty pages are logged. */
export interface VfioIommuType1InfoCapMigration {
  /** Id VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, version 1. */
  header: VfioInfoCapHeader;
  /** None is defined. */
  flags: number;
  /** Page sizes that can be logged: bit n means 2^n bytes. */
  pgsize_bitmap: bigint;
  /** The largest bitmap that one call may ask for, in bytes. */
  max_dirty_bitmap_size: bigint;
}

/** `struct vfio_iommu_type1_info_cap_migration`, 32 bytes; 4 after `flags` are padding. */
export const vfioIommuType1InfoCapMigration: StructCodec<VfioIommuType1InfoCapMigration> = struct(
  "vfio_iommu_type1_info_cap_migration",
  { header: vfioInfoCapHeader, flags: "u32", pgsize_bitmap: "u64", max_dirty_bitmap_size: "u64" },
);

/** `struct vfio_iommu_type1_info_dma_avail`: how many mappings are left. */
export interface VfioIommuType1InfoDmaAvail {
  /** Id VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version 1. */
  header: VfioInfoCapHeader;
  /** The number of mappings that can still be added. */
  avail: number;
}

/** `struct vfio_iommu_type1_info_dma_avail`, 12 bytes, so the next capability may be unaligned. */
export const vfioIommuType1InfoDmaAvail: StructCodec<VfioIommuType1InfoDmaAvail> = struct(
  "vfio_iommu_type1_info_dma_avail",
  { header: vfioInfoCapHeader, avail: "u32" },
);

/** `struct vfio_iommu_type1_dma_map`: the argument of VFIO_IOMMU_MAP_DMA. */
export interface VfioIommuType1DmaMap {
  /** Size of the struct in bytes. */
  argsz: number;
  /** `VFIO_DMA_MAP_FLAG_*`. */
  flags: number;
  /** Address in the process. */
  vaddr: bigint;
  /** Address that the device uses. */
  iova: bigint;
  /** Bytes. */
  size: bigint;
}

/** `struct vfio_iommu_type1_dma_map`, 32 bytes. */
export const vfioIommuType1DmaMap: StructCodec<VfioIommuType1DmaMap> = struct(
  "vfio_iommu_type1_dma_map",
  { argsz: "argsz", flags: "u32", vaddr: "u64", iova: "u64", size: "u64" },
);

/** `struct vfio_bitmap`: a bitmap of dirty pages, one bit per page. */
export interface VfioBitmap {
  /** Bytes per bit. */
  pgsize: bigint;
  /** Size of the bitmap in bytes, a multiple of 8. */
  size: bigint;
  /** Address of the bitmap in the process (`__u64 *`). The memory must be zero. */
  data: bigint;
}

/** `struct vfio_bitmap`, 24 bytes. */
export const vfioBitmap: StructCodec<VfioBitmap> = struct("vfio_bitmap", {
  pgsize: "u64",
  size: "u64",
  data: "u64",
});

/** `struct vfio_iommu_type1_dma_unmap`: the argument of VFIO_IOMMU_UNMAP_DMA. */
export interface VfioIommuType1DmaUnmap {
  /** Size of the struct in bytes, data included. */
  argsz: number;
  /** `VFIO_DMA_UNMAP_FLAG_*`. */
  flags: number;
  /** Address that the device uses. */
  iova: bigint;
  /** Bytes; in the answer, the bytes that were unmapped. */
  size: bigint;
  /** With VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP a struct vfio_bitmap, else empty. */
  data: Uint8Array;
}

/**
 * `struct vfio_iommu_type1_dma_unmap`, 24 bytes and the data.
 *
 * @example
 * ```ts
 * import { VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, vfioBitmap, vfioIommuType1DmaUnmap } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const bytes = vfioIommuType1DmaUnmap.pack({
 *   flags: VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
 *   iova: 0x1000_0000n,
 *   size: 0x20_0000n,
 *   data: vfioBitmap.pack({ pgsize: 4096n, size: 64n, data: 0x7f00_0000_0000n }),
 * });
 * assert.equal(bytes.length, 48);
 * assert.equal(vfioIommuType1DmaUnmap.unpack(bytes).argsz, 48);
 * ```
 */
export const vfioIommuType1DmaUnmap: StructCodec<VfioIommuType1DmaUnmap> = struct(
  "vfio_iommu_type1_dma_unmap",
  { argsz: "argsz", flags: "u32", iova: "u64", size: "u64", data: tail("u8", "argsz") },
);

/** `struct vfio_iommu_type1_dirty_bitmap`: the argument of VFIO_IOMMU_DIRTY_PAGES. */
export interface VfioIommuType1DirtyBitmap {
  /** Size of the struct in bytes, data included but not the bitmap itself. */
  argsz: number;
  /** One of `VFIO_IOMMU_DIRTY_PAGES_FLAG_*`. */
  flags: number;
  /** With GET_BITMAP a struct vfio_iommu_type1_dirty_bitmap_get, else empty. */
  data: Uint8Array;
}

/** `struct vfio_iommu_type1_dirty_bitmap`, 8 bytes and the data. */
export const vfioIommuType1DirtyBitmap: StructCodec<VfioIommuType1DirtyBitmap> = struct(
  "vfio_iommu_type1_dirty_bitmap",
  { argsz: "argsz", flags: "u32", data: tail("u8", "argsz") },
);

/** `struct vfio_iommu_type1_dirty_bitmap_get`: the range whose dirty pages are read. */
export interface VfioIommuType1DirtyBitmapGet {
  /** The first address, as the device uses it. */
  iova: bigint;
  /** Bytes from there on. */
  size: bigint;
  /** Where to report the dirty pages. */
  bitmap: VfioBitmap;
}

/** `struct vfio_iommu_type1_dirty_bitmap_get`, 40 bytes. */
export const vfioIommuType1DirtyBitmapGet: StructCodec<VfioIommuType1DirtyBitmapGet> = struct(
  "vfio_iommu_type1_dirty_bitmap_get",
  { iova: "u64", size: "u64", bitmap: vfioBitmap },
);
