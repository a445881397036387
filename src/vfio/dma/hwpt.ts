/**
 * The page tables of an iommufd (HWPT), and what its hardware can do.
 *
 * @module
 */

import {
  IOMMU_GET_HW_INFO,
  IOMMU_HWPT_ALLOC,
  IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
  IOMMU_HWPT_GET_DIRTY_BITMAP,
  IOMMU_HWPT_SET_DIRTY_TRACKING,
  iommuHwInfo,
  iommuHwptAlloc,
  type IommuHwptGetDirtyBitmap,
  iommuHwptGetDirtyBitmap,
  iommuHwptSetDirtyTracking,
} from "../../uapi/mod.ts";
import { ioctl } from "../ioctl.ts";
import type { Iommufd } from "./iommufd.ts";

/**
 * Reads what the IOMMU hardware behind a bound device can do (IOMMU_GET_HW_INFO).
 *
 * @param device The device's id in the iommufd.
 * @returns IOMMU_HW_CAP_*.
 * @throws {SysError} ENOENT if there is no hardware behind the device, ENOTTY before Linux 6.7.
 */
export function hwCapabilities({ fd }: Iommufd, device: number): bigint {
  const argument = iommuHwInfo.pack({ dev_id: device });
  ioctl(fd, { IOMMU_GET_HW_INFO }, argument);
  return iommuHwInfo.unpack(argument).out_capabilities;
}

/** A range of addresses, and where to write its dirty pages. */
export type DirtyBitmapQuery = Pick<
  IommuHwptGetDirtyBitmap,
  "iova" | "length" | "page_size" | "data" | "flags"
>;

/** A page table of an IOAS, which devices can be attached to. */
export class Hwpt {
  /** The iommufd that it belongs to. */
  readonly iommufd: Iommufd;
  /** Its object id in the iommufd. */
  readonly id: number;

  private constructor(iommufd: Iommufd, id: number) {
    this.iommufd = iommufd;
    this.id = id;
  }

  /**
   * Allocates a page table (IOMMU_HWPT_ALLOC).
   *
   * @param device The id of the bound device that it is for.
   * @param ioas The id of its IOAS.
   * @param flags IOMMU_HWPT_ALLOC_*.
   * @throws {SysError} EOPNOTSUPP if the hardware has no such page tables.
   */
  static allocate(iommufd: Iommufd, device: number, ioas: number, flags: number): Hwpt {
    const { fd } = iommufd;
    const argument = iommuHwptAlloc.pack({ dev_id: device, pt_id: ioas, flags });
    ioctl(fd, { IOMMU_HWPT_ALLOC }, argument);
    return new Hwpt(iommufd, iommuHwptAlloc.unpack(argument).out_hwpt_id);
  }

  /**
   * Starts tracking dirty pages, all of them clean, or stops (IOMMU_HWPT_SET_DIRTY_TRACKING).
   *
   * @throws {SysError} EOPNOTSUPP if it was not allocated for that.
   */
  setDirtyTracking(on: boolean): void {
    const { fd } = this.iommufd;
    const flags = on ? IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0;
    const argument = iommuHwptSetDirtyTracking.pack({ hwpt_id: this.id, flags });
    ioctl(fd, { IOMMU_HWPT_SET_DIRTY_TRACKING }, argument);
  }

  /**
   * Reads which pages are dirty (IOMMU_HWPT_GET_DIRTY_BITMAP). Linux sets bits of dirty pages and
   * clears none; from the first address on that is not mapped, they are missing without an error.
   *
   * @throws {SysError} EINVAL if the range is not in whole pages, EOVERFLOW if it wraps.
   */
  readDirtyBitmap(query: DirtyBitmapQuery): void {
    const { fd } = this.iommufd;
    const argument = iommuHwptGetDirtyBitmap.pack({ hwpt_id: this.id, ...query });
    ioctl(fd, { IOMMU_HWPT_GET_DIRTY_BITMAP }, argument);
  }

  /**
   * Destroys it.
   *
   * @throws {SysError} EBUSY while a device is attached to it.
   */
  destroy(): void {
    this.iommufd.destroy(this.id);
  }
}
