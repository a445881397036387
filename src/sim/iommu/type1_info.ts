/**
 * VFIO_IOMMU_GET_INFO: the properties and capabilities of a type1 IOMMU.
 */

import {
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
} from "../../uapi/mod.ts";
import { type CapabilityBytes, chain } from "../os/capabilities.ts";
import { MAX_BITMAP_BYTES } from "./type1_tracking.ts";
import { DMA_PAGE } from "./dma_list.ts";
import type { Iommu, IommuDriver } from "./iommu.ts";
import { refuse } from "../os/refusal.ts";
import { type Argument, bytesToUser, fromUser, toUser } from "../os/user.ts";

/** The bytes of the struct that the kernel requires; the fields after them were added later. */
const INFO_LEAST: number = vfioIommuType1Info.offsetOf("cap_offset");
const INFO_WITH_CAPS: number = INFO_LEAST + 4;

function capabilitiesOf(
  { ranges }: Iommu,
  tracking: IommuDriver["tracking"],
  avail: number,
): CapabilityBytes[] {
  const header = { version: 1, next: 0 };
  const capabilities = [vfioIommuType1InfoDmaAvail.pack({
    header: { ...header, id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL },
    avail,
  })];
  if (tracking === "capability") {
    capabilities.unshift(vfioIommuType1InfoCapMigration.pack({
      header: { ...header, id: VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION },
      flags: 0,
      pgsize_bitmap: DMA_PAGE,
      max_dirty_bitmap_size: MAX_BITMAP_BYTES,
    }));
  }
  if (ranges !== null) {
    capabilities.push(vfioIommuType1InfoCapIovaRange.pack({
      header: { ...header, id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE },
      iova_ranges: ranges,
    }));
  }
  return capabilities;
}

/** Answers the ioctl; `avail` is the number of mappings that can still be added. */
export function answerInfo(
  arg: Argument,
  iommu: Iommu,
  tracking: IommuDriver["tracking"],
  avail: number,
): number {
  const { argsz } = fromUser(vfioIommuType1Info, arg, INFO_LEAST);
  if (argsz < INFO_LEAST) refuse("EINVAL");
  const { size } = vfioIommuType1Info;
  const bytes = chain(capabilitiesOf(iommu, tracking, avail), size);
  const fits = argsz >= size + bytes.length;
  if (fits) bytesToUser(arg, size, bytes);
  toUser(
    vfioIommuType1Info,
    arg,
    {
      argsz: fits ? argsz : size + bytes.length,
      flags: VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS |
        (tracking === "draft" ? VFIO_IOMMU_INFO_DIRTY_PGS : 0),
      iova_pgsizes: iommu.pgsizes,
      cap_offset: fits ? size : 0,
    },
    argsz >= INFO_WITH_CAPS ? INFO_WITH_CAPS : INFO_LEAST,
  );
  return 0;
}
