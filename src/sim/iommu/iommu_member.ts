/**
 * The interface between an IOMMU and its groups: a group as its IOMMU sees it, and
 * the memory that the group's device reaches through the IOMMU.
 */

import type { FaultEvent } from "../faults/fault_plan.ts";
import type { Dma } from "./dma_list.ts";
import type { Bytes } from "../os/bytes.ts";

/** Memory that a device's DMA reaches. */
export interface DmaTarget {
  /** The mappings, by ascending iova. */
  readonly mappings: Iterable<Dma>;
  /**
   * Writes (vfio_dma_rw). Fails with EINVAL if nothing is mapped, with EPERM if the
   * mapping is read-only, and with EFAULT if there is no memory at its address.
   */
  write(iova: bigint, from: Bytes): void;
  /** Pins a page (vfio_pin_pages); it counts as dirty until it is unpinned. */
  pin(iova: bigint): void;
  /** Unpins a page. */
  unpin(iova: bigint): void;
}

/** A group, with its device. */
export interface IommuMember {
  /** Whether the device is behind IOMMU hardware, which does not report to a container what is written. */
  readonly hardware: boolean;
  /** Whether that hardware can track dirty pages in page tables of an iommufd. */
  readonly tracks: boolean;
  /** Performs the DMA that the device has done since the last call. */
  elapse(): void;
  /** Sets the memory that the device's DMA reaches; null for none. */
  reach(target: DmaTarget | null): void;
  /** A mapping was removed, and with it the pins of its pages. */
  unmapped(dma: Dma): void;
  /** Counts an event for the device's faults; one that strikes refuses the call. */
  strike(event: FaultEvent): void;
}
