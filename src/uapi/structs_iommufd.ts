/**
 * Structs of /dev/iommu (linux/iommufd.h), and of a device's binding to it
 * (linux/vfio.h).
 *
 * @module
 */

import { array, struct } from "./codec.ts";
import type { StructCodec } from "./struct_types.ts";

/** `struct vfio_device_bind_iommufd`: the argument of VFIO_DEVICE_BIND_IOMMUFD. */
export interface VfioDeviceBindIommufd {
  /** Size of the struct in bytes. */
  argsz: number;
  /** `VFIO_DEVICE_BIND_FLAG_*`; 0 before Linux 6.17. */
  flags: number;
  /** An fd of /dev/iommu. */
  iommufd: number;
  /** In the answer, the device's id in that iommufd. */
  out_devid: number;
}

/**
 * `struct vfio_device_bind_iommufd`, 16 bytes as in Linux 6.6. See
 * {@linkcode vfioDeviceBindIommufdToken} for later kernels.
 */
export const vfioDeviceBindIommufd: StructCodec<VfioDeviceBindIommufd> = struct(
  "vfio_device_bind_iommufd",
  { argsz: "argsz", flags: "u32", iommufd: "s32", out_devid: "u32" },
);

/** `struct vfio_device_bind_iommufd` of Linux 6.17 and later. */
export interface VfioDeviceBindIommufdToken extends VfioDeviceBindIommufd {
  /** With VFIO_DEVICE_BIND_FLAG_TOKEN, the address of the VF token (16 bytes). */
  token_uuid_ptr: bigint;
}

/**
 * `struct vfio_device_bind_iommufd`, 24 bytes as in Linux 6.17 and later.
 *
 * @example
 * ```ts
 * import { VFIO_DEVICE_BIND_FLAG_TOKEN, vfioDeviceBindIommufdToken } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const bytes = vfioDeviceBindIommufdToken.pack({
 *   flags: VFIO_DEVICE_BIND_FLAG_TOKEN,
 *   iommufd: 4,
 *   token_uuid_ptr: 0x7f00_0000_0000n,
 * });
 * assert.equal(bytes.length, 24);
 * ```
 */
export const vfioDeviceBindIommufdToken: StructCodec<VfioDeviceBindIommufdToken> = struct(
  "vfio_device_bind_iommufd",
  { argsz: "argsz", flags: "u32", iommufd: "s32", out_devid: "u32", token_uuid_ptr: "u64" },
);

/** `struct vfio_device_attach_iommufd_pt`: the argument of VFIO_DEVICE_ATTACH_IOMMUFD_PT. */
export interface VfioDeviceAttachIommufdPt {
  /** Size of the struct in bytes. */
  argsz: number;
  /** 0. */
  flags: number;
  /** An IOAS or a page table; in the answer, the page table that the kernel chose. */
  pt_id: number;
}

/**
 * `struct vfio_device_attach_iommufd_pt`, 12 bytes as in Linux 6.6. From 6.15
 * on a `pasid` may follow.
 */
export const vfioDeviceAttachIommufdPt: StructCodec<VfioDeviceAttachIommufdPt> = struct(
  "vfio_device_attach_iommufd_pt",
  { argsz: "argsz", flags: "u32", pt_id: "u32" },
);

/** `struct vfio_device_detach_iommufd_pt`: the argument of VFIO_DEVICE_DETACH_IOMMUFD_PT. */
export interface VfioDeviceDetachIommufdPt {
  /** Size of the struct in bytes. */
  argsz: number;
  /** 0. */
  flags: number;
}

/**
 * `struct vfio_device_detach_iommufd_pt`, 8 bytes as in Linux 6.6. From 6.15 on
 * a `pasid` may follow.
 */
export const vfioDeviceDetachIommufdPt: StructCodec<VfioDeviceDetachIommufdPt> = struct(
  "vfio_device_detach_iommufd_pt",
  { argsz: "argsz", flags: "u32" },
);

/** `struct iommu_destroy`: the argument of IOMMU_DESTROY. */
export interface IommuDestroy {
  /** Size of the struct in bytes. */
  size: number;
  /** The object. */
  id: number;
}

/** `struct iommu_destroy`, 8 bytes. */
export const iommuDestroy: StructCodec<IommuDestroy> = struct("iommu_destroy", {
  size: "argsz",
  id: "u32",
});

/** `struct iommu_ioas_alloc`: the argument of IOMMU_IOAS_ALLOC. */
export interface IommuIoasAlloc {
  /** Size of the struct in bytes. */
  size: number;
  /** 0. */
  flags: number;
  /** In the answer, the new address space. */
  out_ioas_id: number;
}

/** `struct iommu_ioas_alloc`, 12 bytes. */
export const iommuIoasAlloc: StructCodec<IommuIoasAlloc> = struct("iommu_ioas_alloc", {
  size: "argsz",
  flags: "u32",
  out_ioas_id: "u32",
});

/** `struct iommu_iova_range`: addresses that can be mapped. */
export interface IommuIovaRange {
  /** The first. */
  start: bigint;
  /** The last, inclusive. */
  last: bigint;
}

/** `struct iommu_iova_range`, 16 bytes. */
export const iommuIovaRange: StructCodec<IommuIovaRange> = struct("iommu_iova_range", {
  start: "u64",
  last: "u64",
});

/** `struct iommu_ioas_iova_ranges`: the argument of IOMMU_IOAS_IOVA_RANGES. */
export interface IommuIoasIovaRanges {
  /** Size of the struct in bytes. */
  size: number;
  /** The address space. */
  ioas_id: number;
  /** The number of ranges that there is room for; in the answer, the number that there are. */
  num_iovas: number;
  /** 0. */
  __reserved: number;
  /** Address of an array of struct iommu_iova_range. */
  allowed_iovas: bigint;
  /** In the answer, the alignment of IOVAs and sizes, in bytes. */
  out_iova_alignment: bigint;
}

/** `struct iommu_ioas_iova_ranges`, 32 bytes. */
export const iommuIoasIovaRanges: StructCodec<IommuIoasIovaRanges> = struct(
  "iommu_ioas_iova_ranges",
  {
    size: "argsz",
    ioas_id: "u32",
    num_iovas: "u32",
    __reserved: "u32",
    allowed_iovas: "u64",
    out_iova_alignment: "u64",
  },
);

/** `struct iommu_ioas_map`: the argument of IOMMU_IOAS_MAP. */
export interface IommuIoasMap {
  /** Size of the struct in bytes. */
  size: number;
  /** `IOMMU_IOAS_MAP_*`. */
  flags: number;
  /** The address space. */
  ioas_id: number;
  /** 0. */
  __reserved: number;
  /** Address in the process. */
  user_va: bigint;
  /** Bytes. */
  length: bigint;
  /** Address that the device uses; without FIXED_IOVA the kernel chooses it. */
  iova: bigint;
}

/**
 * `struct iommu_ioas_map`, 40 bytes.
 *
 * @example
 * ```ts
 * import { IOMMU_IOAS_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_WRITEABLE, iommuIoasMap } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const bytes = iommuIoasMap.pack({
 *   flags: IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE,
 *   ioas_id: 1,
 *   user_va: 0x7f00_0000_0000n,
 *   length: 0x1000n,
 *   iova: 0x10_0000n,
 * });
 * assert.equal(iommuIoasMap.unpack(bytes).size, 40);
 * ```
 */
export const iommuIoasMap: StructCodec<IommuIoasMap> = struct("iommu_ioas_map", {
  size: "argsz",
  flags: "u32",
  ioas_id: "u32",
  __reserved: "u32",
  user_va: "u64",
  length: "u64",
  iova: "u64",
});

/** `struct iommu_ioas_unmap`: the argument of IOMMU_IOAS_UNMAP. */
export interface IommuIoasUnmap {
  /** Size of the struct in bytes. */
  size: number;
  /** The address space. */
  ioas_id: number;
  /** Address that the device uses. */
  iova: bigint;
  /** Bytes; in the answer, the bytes that were unmapped. */
  length: bigint;
}

/** `struct iommu_ioas_unmap`, 24 bytes. */
export const iommuIoasUnmap: StructCodec<IommuIoasUnmap> = struct("iommu_ioas_unmap", {
  size: "argsz",
  ioas_id: "u32",
  iova: "u64",
  length: "u64",
});

/** `struct iommu_hwpt_alloc`: the argument of IOMMU_HWPT_ALLOC. */
export interface IommuHwptAlloc {
  /** Size of the struct in bytes. */
  size: number;
  /** `IOMMU_HWPT_ALLOC_*`. */
  flags: number;
  /** The bound device that the page table is for. */
  dev_id: number;
  /** The address space, or the page table that it is nested in. */
  pt_id: number;
  /** In the answer, the new page table. */
  out_hwpt_id: number;
  /** 0. */
  __reserved: number;
  /** What data_uptr points to; 0 for nothing. */
  data_type: number;
  /** Bytes at data_uptr. */
  data_len: number;
  /** Address of what the IOMMU's driver takes. */
  data_uptr: bigint;
  /** A fault queue, with IOMMU_HWPT_FAULT_ID_VALID (Linux 6.11). */
  fault_id: number;
  /** 0. */
  __reserved2: number;
}

/** `struct iommu_hwpt_alloc`, 48 bytes as in Linux 6.11; 40 before. */
export const iommuHwptAlloc: StructCodec<IommuHwptAlloc> = struct("iommu_hwpt_alloc", {
  size: "argsz",
  flags: "u32",
  dev_id: "u32",
  pt_id: "u32",
  out_hwpt_id: "u32",
  __reserved: "u32",
  data_type: "u32",
  data_len: "u32",
  data_uptr: "u64",
  fault_id: "u32",
  __reserved2: "u32",
});

/** `struct iommu_hw_info`: the argument of IOMMU_GET_HW_INFO. */
export interface IommuHwInfo {
  /** Size of the struct in bytes. */
  size: number;
  /** 0. */
  flags: number;
  /** The bound device. */
  dev_id: number;
  /** Room at data_uptr in bytes; in the answer, the bytes that the IOMMU's driver has. */
  data_len: number;
  /** Address for what the IOMMU's driver says of it. */
  data_uptr: bigint;
  /** In the answer, the type of that. */
  out_data_type: number;
  /** In the answer, the width of a PASID (Linux 6.15; 0 before). */
  out_max_pasid_log2: number;
  /** 0. */
  __reserved: Uint8Array;
  /** In the answer, `IOMMU_HW_CAP_*`. */
  out_capabilities: bigint;
}

/** `struct iommu_hw_info`, 40 bytes. */
export const iommuHwInfo: StructCodec<IommuHwInfo> = struct("iommu_hw_info", {
  size: "argsz",
  flags: "u32",
  dev_id: "u32",
  data_len: "u32",
  data_uptr: "u64",
  out_data_type: "u32",
  out_max_pasid_log2: "u8",
  __reserved: array("u8", 3),
  out_capabilities: "u64",
});

/** `struct iommu_hwpt_set_dirty_tracking`: the argument of IOMMU_HWPT_SET_DIRTY_TRACKING. */
export interface IommuHwptSetDirtyTracking {
  /** Size of the struct in bytes. */
  size: number;
  /** `IOMMU_HWPT_DIRTY_TRACKING_*`. */
  flags: number;
  /** The page table. */
  hwpt_id: number;
  /** 0. */
  __reserved: number;
}

/** `struct iommu_hwpt_set_dirty_tracking`, 16 bytes. */
export const iommuHwptSetDirtyTracking: StructCodec<IommuHwptSetDirtyTracking> = struct(
  "iommu_hwpt_set_dirty_tracking",
  { size: "argsz", flags: "u32", hwpt_id: "u32", __reserved: "u32" },
);

/** `struct iommu_hwpt_get_dirty_bitmap`: the argument of IOMMU_HWPT_GET_DIRTY_BITMAP. */
export interface IommuHwptGetDirtyBitmap {
  /** Size of the struct in bytes. */
  size: number;
  /** The page table. */
  hwpt_id: number;
  /** `IOMMU_HWPT_GET_DIRTY_BITMAP_*`. */
  flags: number;
  /** 0. */
  __reserved: number;
  /** The first address. */
  iova: bigint;
  /** Bytes. */
  length: bigint;
  /** Bytes per bit of the bitmap. */
  page_size: bigint;
  /** Address of the bitmap. The kernel sets bits and clears none. */
  data: bigint;
}

/**
 * `struct iommu_hwpt_get_dirty_bitmap`, 48 bytes.
 *
 * @example
 * ```ts
 * import { IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR, iommuHwptGetDirtyBitmap } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const bytes = iommuHwptGetDirtyBitmap.pack({
 *   hwpt_id: 3,
 *   flags: IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
 *   iova: 0x10_0000n,
 *   length: 1n << 20n,
 *   page_size: 4096n,
 *   data: 0x7f00_0000_0000n,
 * });
 * assert.equal(bytes.length, 48);
 * ```
 */
export const iommuHwptGetDirtyBitmap: StructCodec<IommuHwptGetDirtyBitmap> = struct(
  "iommu_hwpt_get_dirty_bitmap",
  {
    size: "argsz",
    hwpt_id: "u32",
    flags: "u32",
    __reserved: "u32",
    iova: "u64",
    length: "u64",
    page_size: "u64",
    data: "u64",
  },
);
