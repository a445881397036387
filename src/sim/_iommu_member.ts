/**
 * A group as the IOMMU of its container sees it, and what its device can do to
 * the memory that is mapped there.
 */

import type { FaultEvent } from "./_faults.ts";
import type { Dma } from "./_dma_list.ts";
import type { Bytes } from "./_region.ts";

/** Memory that a device's DMA reaches. */
export interface DmaTarget {
  /** What is mapped, by ascending iova. */
  readonly mappings: Iterable<Dma>;
  /**
   * Writes (vfio_dma_rw): EINVAL where nothing is mapped, EPERM where it may not
   * be written, EFAULT where no memory stands behind.
   */
  write(iova: bigint, from: Bytes): void;
  /** Pins a page (vfio_pin_pages); it counts as written to until it is unpinned. */
  pin(iova: bigint): void;
  /** Unpins a page. */
  unpin(iova: bigint): void;
}

/** A group with its device. */
export interface IommuMember {
  /** Whether IOMMU hardware stands before it, which tells nothing of what is written. */
  readonly hardware: boolean;
  /** Lets the DMA happen that the device has done since the last call. */
  elapse(): void;
  /** Lets the device's DMA reach memory, or null none. */
  reach(target: DmaTarget | null): void;
  /** A mapping is gone: what was pinned in it no longer is. */
  unmapped(dma: Dma): void;
  /** Something happens; a fault answers it with an errno. */
  strike(event: FaultEvent): void;
}
