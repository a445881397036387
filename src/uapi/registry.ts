/**
 * Every request number, constant and struct of this folder, by C name.
 *
 * @module
 */

import type { Field, StructCodec } from "./struct_types.ts";
import * as constants from "./constants.ts";
import * as ioctl from "./ioctl.ts";
import * as device from "./structs_device.ts";
import * as feature from "./structs_feature.ts";
import * as iommufd from "./structs_iommufd.ts";
import * as pagemap from "./structs_pagemap.ts";
import * as type1 from "./structs_type1.ts";

/** The layout of later kernels for a struct that grew. */
export interface StructVariant {
  /** The first kernel version that has it. */
  readonly since: string;
  /** The codec of this layout. */
  readonly codec: StructCodec<object>;
}

/** Structs that later kernels extended, by C name. */
export const VARIANTS: Readonly<Record<string, StructVariant>> = {
  vfio_device_bind_iommufd: { since: "Linux 6.17", codec: iommufd.vfioDeviceBindIommufdToken },
  vfio_device_info: { since: "Linux 6.6", codec: device.vfioDeviceInfoPadded },
};

/** The version that introduced linux/iommufd.h. */
const IOMMUFD = "Linux 6.2";
/** The version that introduced iommufd's tracking of dirty pages. */
const HWPT_DIRTY = "Linux 6.7";
/** The version that introduced PAGEMAP_SCAN, and write-protection that nobody is told of. */
const PAGEMAP_SCAN = "Linux 6.7";
/** The version that introduced a node per device, in /dev/vfio/devices. */
const CDEV = "Linux 6.6";

/** Names that the headers of Linux 6.1 lack, and the version that introduced each. */
export const NOT_IN_6_1: Readonly<Record<string, string>> = {
  VFIO_DEVICE_STATE_PRE_COPY: "Linux 6.2",
  VFIO_DEVICE_STATE_PRE_COPY_P2P: "Linux 6.2",
  VFIO_MIGRATION_PRE_COPY: "Linux 6.2",
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE: "Linux 6.2",
  VFIO_MIG_GET_PRECOPY_INFO: "Linux 6.2",
  vfio_device_feature_mig_data_size: "Linux 6.2",
  vfio_precopy_info: "Linux 6.2",
  VFIO_DEVICE_FLAGS_CDX: "Linux 6.6",
  VFIO_DEVICE_FEATURE_BUS_MASTER: "Linux 6.7",
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2: "Linux 7.1",
  VFIO_PRECOPY_INFO_REINIT: "Linux 7.1",
  VFIO_DEVICE_BIND_IOMMUFD: CDEV,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT: CDEV,
  VFIO_DEVICE_DETACH_IOMMUFD_PT: CDEV,
  vfio_device_bind_iommufd: CDEV,
  vfio_device_attach_iommufd_pt: CDEV,
  vfio_device_detach_iommufd_pt: CDEV,
  VFIO_DEVICE_BIND_FLAG_TOKEN: "Linux 6.17",
  IOMMUFD_TYPE: IOMMUFD,
  IOMMU_DESTROY: IOMMUFD,
  IOMMU_IOAS_ALLOC: IOMMUFD,
  IOMMU_IOAS_IOVA_RANGES: IOMMUFD,
  IOMMU_IOAS_MAP: IOMMUFD,
  IOMMU_IOAS_MAP_FIXED_IOVA: IOMMUFD,
  IOMMU_IOAS_MAP_READABLE: IOMMUFD,
  IOMMU_IOAS_MAP_WRITEABLE: IOMMUFD,
  IOMMU_IOAS_UNMAP: IOMMUFD,
  iommu_destroy: IOMMUFD,
  iommu_ioas_alloc: IOMMUFD,
  iommu_ioas_iova_ranges: IOMMUFD,
  iommu_ioas_map: IOMMUFD,
  iommu_ioas_unmap: IOMMUFD,
  iommu_iova_range: IOMMUFD,
  IOMMU_HWPT_ALLOC: HWPT_DIRTY,
  IOMMU_GET_HW_INFO: HWPT_DIRTY,
  IOMMU_HWPT_SET_DIRTY_TRACKING: HWPT_DIRTY,
  IOMMU_HWPT_GET_DIRTY_BITMAP: HWPT_DIRTY,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING: HWPT_DIRTY,
  IOMMU_HW_CAP_DIRTY_TRACKING: HWPT_DIRTY,
  IOMMU_HWPT_DIRTY_TRACKING_ENABLE: HWPT_DIRTY,
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR: HWPT_DIRTY,
  iommu_hwpt_alloc: HWPT_DIRTY,
  iommu_hw_info: HWPT_DIRTY,
  iommu_hwpt_set_dirty_tracking: HWPT_DIRTY,
  iommu_hwpt_get_dirty_bitmap: HWPT_DIRTY,
  UFFD_FEATURE_WP_UNPOPULATED: "Linux 6.4",
  UFFD_FEATURE_WP_ASYNC: PAGEMAP_SCAN,
  PAGEMAP_SCAN,
  PAGE_IS_WPALLOWED: PAGEMAP_SCAN,
  PAGE_IS_WRITTEN: PAGEMAP_SCAN,
  PAGE_IS_PRESENT: PAGEMAP_SCAN,
  PAGE_IS_SWAPPED: PAGEMAP_SCAN,
  PM_SCAN_WP_MATCHING: PAGEMAP_SCAN,
  PM_SCAN_CHECK_WPASYNC: PAGEMAP_SCAN,
  page_region: PAGEMAP_SCAN,
  pm_scan_arg: PAGEMAP_SCAN,
  VFIO_IOMMU_INFO_DIRTY_PGS: "drafts of the v1 patches only",
};

/** Request numbers by C name, sorted by number. */
export const IOCTLS: Readonly<Record<string, number>> = Object.fromEntries(
  numbers(ioctl).sort(([, a], [, b]) => a - b),
);

/** Constants by C name, sorted by name. */
export const CONSTANTS: Readonly<Record<string, number>> = Object.fromEntries(numbers(constants));

/** Struct codecs by C name, sorted by name; the earlier layout of those in {@linkcode VARIANTS}. */
export const STRUCTS: Readonly<Record<string, StructCodec<object>>> = Object.fromEntries(
  [...codecs(device), ...codecs(feature), ...codecs(iommufd), ...codecs(pagemap), ...codecs(type1)]
    .filter((codec) => VARIANTS[codec.name]?.codec !== codec)
    .map((codec) => [codec.name, codec] as const)
    .sort(([a], [b]) => a < b ? -1 : 1),
);

/** A struct's layout, as {@linkcode describeUapi} returns it. */
export interface StructDescription {
  /** `sizeof`, in bytes, without a tail. */
  readonly size: number;
  /** The fields, in order. */
  readonly fields: readonly Field[];
  /** The layout of later kernels, if the struct grew. */
  readonly later?: {
    /** The first kernel version that has it. */
    readonly since: string;
    /** `sizeof`, in bytes. */
    readonly size: number;
    /** The fields, in order. */
    readonly fields: readonly Field[];
  };
}

/** The result of {@linkcode describeUapi}: plain data that can be written as JSON. */
export interface UapiDescription {
  /** The name and version of this format. */
  readonly schema: "vfiokit/uapi/1";
  /** Request numbers in hexadecimal, such as `"0x3b6f"`. */
  readonly ioctls: Readonly<Record<string, string>>;
  /** Constants. */
  readonly constants: Readonly<Record<string, number>>;
  /** Struct layouts. */
  readonly structs: Readonly<Record<string, StructDescription>>;
  /** The version that introduced a name, for each name that the headers of Linux 6.1 lack. */
  readonly notes: Readonly<Record<string, string>>;
}

/**
 * Request numbers, constants and layouts as plain data.
 *
 * @param name a C name (of a struct with or without `struct`), to describe only this one
 * @returns the description; all tables are empty if `name` is unknown
 *
 * @example
 * ```ts
 * import { describeUapi } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(describeUapi("VFIO_DEVICE_RESET").ioctls, { VFIO_DEVICE_RESET: "0x3b6f" });
 * assert.equal(describeUapi("struct vfio_region_info").structs["vfio_region_info"]?.size, 32);
 * ```
 */
export function describeUapi(name?: string): UapiDescription {
  const wanted = name?.replace(/^struct\s+/, "");
  const pick = <V, R>(table: Readonly<Record<string, V>>, to: (value: V, key: string) => R) =>
    Object.fromEntries(
      Object.entries(table)
        .filter(([key]) => wanted === undefined || key === wanted)
        .map(([key, value]) => [key, to(value, key)] as const),
    );
  return {
    schema: "vfiokit/uapi/1",
    ioctls: pick(IOCTLS, (value) => `0x${value.toString(16)}`),
    constants: pick(CONSTANTS, (value) => value),
    structs: pick(STRUCTS, ({ size, fields }, key): StructDescription => {
      const variant = VARIANTS[key];
      if (variant === undefined) return { size, fields };
      const { since, codec } = variant;
      return { size, fields, later: { since, size: codec.size, fields: codec.fields } };
    }),
    notes: pick(NOT_IN_6_1, (value) => value),
  };
}

function numbers(module: object): [string, number][] {
  return Object.entries(module).filter(([, value]) => typeof value === "number");
}

function codecs(module: object): StructCodec<object>[] {
  return Object.values(module);
}
