/**
 * A device's regions: their place in the device fd, and how they can be accessed.
 *
 * @module
 */

import type { Fd } from "../../kernel/fd.ts";
import {
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_REGION_INFO_CAP_SPARSE_MMAP,
  VFIO_REGION_INFO_CAP_TYPE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
  vfioRegionInfo,
  vfioRegionInfoCapSparseMmap,
  vfioRegionInfoCapType,
  vfioRegionSparseMmapArea,
} from "../../uapi/mod.ts";
import { AnswerError } from "./answer_error.ts";
import { ioctlArgsz } from "./argsz.ts";
import {
  type Capability,
  CapabilityError,
  requireBytes,
  requireElements,
  walkCapabilities,
} from "./capability_chain.ts";

/** A part of a region that mmap may reach (struct vfio_region_sparse_mmap_area). */
export interface SparseArea {
  /** Where in the region, in bytes. */
  readonly offset: bigint;
  /** Bytes; may be 0. */
  readonly size: bigint;
}

/** What a device-specific region is (struct vfio_region_info_cap_type). */
export interface RegionType {
  /** VFIO_REGION_TYPE_*. */
  readonly type: number;
  /** The subtype, the type's own. */
  readonly subtype: number;
}

/** A region, as VFIO_DEVICE_GET_REGION_INFO describes it. Plain data. */
export interface Region {
  /** Its number. */
  readonly index: number;
  /** VFIO_REGION_INFO_FLAG_*. */
  readonly flags: number;
  /** Bytes; 0 if the device does not have it. */
  readonly size: bigint;
  /** Where in the device fd; offset + size is below 2^53. */
  readonly offset: bigint;
  /** Its type capability; null if it has none. */
  readonly type: RegionType | null;
  /** The areas of its sparse mmap capability, in the driver's order; null if it has none. */
  readonly sparse: readonly SparseArea[] | null;
  /** All its capabilities, those of unknown ids too. */
  readonly capabilities: readonly Capability[];
  /** Whether it can be read. */
  readonly readable: boolean;
  /** Whether it can be written. */
  readonly writable: boolean;
  /** Whether mmap reaches it, all of it or its sparse areas. */
  readonly mappable: boolean;
}

/**
 * Reads a region's description.
 *
 * @param index Its number, below the device's num_regions.
 * @throws {SysError} If the ioctl fails; EINVAL if the device has no such region.
 * @throws {CapabilityError} If its capabilities are broken.
 * @throws {AnswerError} If its place in the fd cannot be true.
 */
export function readRegion(fd: Fd, index: number): Region {
  const what = `region ${index} of ${fd.label}`;
  const answer = ioctlArgsz(fd, { VFIO_DEVICE_GET_REGION_INFO }, vfioRegionInfo.pack({ index }));
  const { flags, cap_offset, size, offset } = vfioRegionInfo.unpack(answer);
  checkBounds(size, offset, what);
  const capabilities = (flags & VFIO_REGION_INFO_FLAG_CAPS) === 0
    ? []
    : walkCapabilities(answer, cap_offset, what, vfioRegionInfo.size);
  return {
    index,
    flags,
    size,
    offset,
    type: readType(capabilities, what),
    sparse: readSparse(capabilities, size, what),
    capabilities,
    readable: (flags & VFIO_REGION_INFO_FLAG_READ) !== 0,
    writable: (flags & VFIO_REGION_INFO_FLAG_WRITE) !== 0,
    mappable: (flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0,
  };
}

/** File offsets are signed and, here, exact numbers: vfio-pci's are index << 40. */
function checkBounds(size: bigint, offset: bigint, what: string): void {
  if (offset + size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new AnswerError(
      `Cannot use ${what}: 0x${size.toString(16)} bytes at offset 0x${offset.toString(16)} ` +
        `end beyond 2^53`,
      `${vfioRegionInfo.name}.${size > BigInt(Number.MAX_SAFE_INTEGER) ? "size" : "offset"}`,
    );
  }
}

function readType(capabilities: readonly Capability[], what: string): RegionType | null {
  const capability = capabilities.find(({ id }) => id === VFIO_REGION_INFO_CAP_TYPE);
  if (capability === undefined) return null;
  requireBytes(capability, vfioRegionInfoCapType.size, what);
  const { type, subtype } = vfioRegionInfoCapType.unpack(capability.bytes);
  return { type, subtype };
}

function readSparse(
  capabilities: readonly Capability[],
  regionSize: bigint,
  what: string,
): readonly SparseArea[] | null {
  const capability = capabilities.find(({ id }) => id === VFIO_REGION_INFO_CAP_SPARSE_MMAP);
  if (capability === undefined) return null;
  requireElements(capability, {
    codec: vfioRegionInfoCapSparseMmap,
    count: "nr_areas",
    elementSize: vfioRegionSparseMmapArea.size,
  }, what);
  const { areas } = vfioRegionInfoCapSparseMmap.unpack(capability.bytes);
  areas.forEach(({ offset, size }, number) => {
    if (offset + size <= regionSize) return;
    throw new CapabilityError(
      `Cannot use the capabilities of ${what}: sparse area ${number} ends ` +
        `0x${(offset + size - regionSize).toString(16)} bytes outside the region`,
      "contents",
      capability.offset,
      `${vfioRegionSparseMmapArea.name}.size`,
    );
  });
  return areas;
}
