/**
 * Structs of /dev/iommu (linux/iommufd.h), and of a device's binding to it
 * (linux/vfio.h).
 *
 * @module
 */

import { struct } from "./codec.ts";
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
