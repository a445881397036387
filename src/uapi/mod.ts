/**
 * The kernel's headers for VFIO and iommufd, and what finds writes to memory (userfaultfd,
 * PAGEMAP_SCAN): request numbers, constants and struct layouts. No I/O, no dependency.
 *
 * @example
 * ```ts
 * import { VFIO_DEVICE_GET_REGION_INFO, vfioRegionInfo } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const argument = vfioRegionInfo.pack({ index: 9 });
 * assert.equal(VFIO_DEVICE_GET_REGION_INFO, 0x3b6c);
 * assert.equal(vfioRegionInfo.unpack(argument).argsz, vfioRegionInfo.size);
 * ```
 *
 * @module
 */

export * from "./ioctl.ts";
export * from "./constants.ts";
export * from "./codec.ts";
export type * from "./struct_types.ts";
export * from "./structs_device.ts";
export * from "./structs_type1.ts";
export * from "./structs_feature.ts";
export * from "./structs_iommufd.ts";
export * from "./structs_pagemap.ts";
export * from "./v1_state.ts";
export * from "./registry.ts";
