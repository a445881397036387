/**
 * What a type1 container reports about its IOMMU.
 *
 * @module
 */

import type { Fd } from "../../kernel/fd.ts";
import {
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_DIRTY_PGS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  vfioIommuType1Info,
  vfioIommuType1InfoCapIovaRange,
  vfioIommuType1InfoCapMigration,
  vfioIommuType1InfoDmaAvail,
  vfioIovaRange,
} from "../../uapi/mod.ts";
import type { AddressSpaceInfo } from "./address_space.ts";
import { byteCount } from "../device/answer_error.ts";
import { ioctlArgsz } from "../device/argsz.ts";
import {
  type Capability,
  requireBytes,
  requireElements,
  walkCapabilities,
} from "../device/capability_chain.ts";
import type { IovaRange } from "./iova.ts";

/** The container's dirty page tracking (capability MIGRATION). */
export interface Type1Migration {
  /** Page sizes of its bitmaps, one bit per size. */
  readonly pgsizes: bigint;
  /** The size in bytes of the largest bitmap that one call can read. */
  readonly maxBitmapBytes: number;
}

/**
 * What VFIO_IOMMU_GET_INFO answers. A container that has only mdevs does not report what can be
 * mapped.
 */
export interface Type1Info extends AddressSpaceInfo {
  /** Dirty page tracking; null if the container has none. */
  readonly migration: Type1Migration | null;
  /**
   * Whether the flag VFIO_IOMMU_INFO_DIRTY_PGS is set, by which a draft of the interface announced
   * dirty page tracking. No released kernel sets it.
   */
  readonly draftDirtyPages: boolean;
  /** The number of mappings left; null if the kernel does not report it (before Linux 5.10). */
  readonly dmaAvail: number | null;
}

/**
 * Reads what a container with an IOMMU reports.
 *
 * @throws {SysError} If the ioctl fails: EINVAL before VFIO_SET_IOMMU.
 * @throws {CapabilityError} If its capabilities are broken.
 */
export function readType1Info(fd: Fd): Type1Info {
  const answer = ioctlArgsz(fd, { VFIO_IOMMU_GET_INFO }, vfioIommuType1Info.pack({}));
  const { flags, iova_pgsizes, cap_offset } = vfioIommuType1Info.unpack(answer);
  const what = fd.label;
  const capabilities = (flags & VFIO_IOMMU_INFO_CAPS) === 0
    ? []
    : walkCapabilities(answer, cap_offset, what, vfioIommuType1Info.size);
  return {
    pgsizes: (flags & VFIO_IOMMU_INFO_PGSIZES) === 0 ? 0n : iova_pgsizes,
    iovaRanges: readIovaRanges(capabilities, what),
    migration: readMigration(capabilities, what),
    draftDirtyPages: (flags & VFIO_IOMMU_INFO_DIRTY_PGS) !== 0,
    dmaAvail: readDmaAvail(capabilities, what),
  };
}

function readIovaRanges(
  capabilities: readonly Capability[],
  what: string,
): readonly IovaRange[] | null {
  const capability = capabilities.find(({ id }) => id === VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
  if (capability === undefined) return null;
  requireElements(capability, {
    codec: vfioIommuType1InfoCapIovaRange,
    count: "nr_iovas",
    elementSize: vfioIovaRange.size,
  }, what);
  return vfioIommuType1InfoCapIovaRange.unpack(capability.bytes).iova_ranges;
}

function readMigration(capabilities: readonly Capability[], what: string): Type1Migration | null {
  const capability = capabilities.find(({ id }) => id === VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);
  if (capability === undefined) return null;
  requireBytes(capability, vfioIommuType1InfoCapMigration.size, what);
  const { pgsize_bitmap, max_dirty_bitmap_size } = vfioIommuType1InfoCapMigration.unpack(
    capability.bytes,
  );
  return {
    pgsizes: pgsize_bitmap,
    maxBitmapBytes: byteCount(
      max_dirty_bitmap_size,
      `max_dirty_bitmap_size of ${what}`,
      `${vfioIommuType1InfoCapMigration.name}.max_dirty_bitmap_size`,
    ),
  };
}

function readDmaAvail(capabilities: readonly Capability[], what: string): number | null {
  const capability = capabilities.find(({ id }) => id === VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
  if (capability === undefined) return null;
  requireBytes(capability, vfioIommuType1InfoDmaAvail.size, what);
  return vfioIommuType1InfoDmaAvail.unpack(capability.bytes).avail;
}
