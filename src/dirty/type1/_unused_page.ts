/**
 * Maps memory for a moment that no device writes to. If even that is dirty, the IOMMU does not
 * track.
 */

import { cleanly, cleanlyThen } from "../../base/cleanup.ts";
import { VFIO_DMA_MAP_FLAG_READ } from "../../uapi/mod.ts";
import type { Type1Container } from "../../vfio/dma/container.ts";
import { DmaError } from "../../vfio/dma/dma_error.ts";
import { DmaMemory } from "../../vfio/dma/dma_memory.ts";
import { IOVA_END, type IovaMapping, type IovaRange } from "../../vfio/dma/iova.ts";
import type { Type1Reader } from "./_type1_read.ts";

/**
 * Returns whether a page that was never written is reported as dirty; null if none can be mapped.
 */
export function witnessIsDirty(
  container: Type1Container,
  reader: Type1Reader,
  pgsize: number,
): boolean | null {
  const iova = freePage(container.info().iovaRanges, container.mappings, BigInt(pgsize));
  if (iova === null) return null;
  const page = { iova, size: BigInt(pgsize) };
  return cleanly(() => {
    using memory = DmaMemory.allocate(container.kernel, pgsize, { kind: "anonymous" });
    try {
      container.map({ ...page, vaddr: memory.address, flags: VFIO_DMA_MAP_FLAG_READ });
    } catch (error) {
      if (error instanceof DmaError) return null;
      throw error;
    }
    return cleanlyThen(() => {
      const { bitmap, lost } = reader.read(page);
      return lost === null ? !bitmap.isEmpty() : null;
    }, () => container.unmap(page.iova, page.size));
  });
}

/** The last page that the IOMMU can map and that is free; null if there is none. */
export function freePage(
  ranges: readonly IovaRange[] | null,
  mappings: readonly IovaMapping[],
  pgsize: bigint,
): bigint | null {
  // Not the very last page: some kernels cannot read a range that ends at 2^64.
  const all = ranges ?? [{ start: 0n, end: IOVA_END - 1n - pgsize }];
  for (const { start, end } of all.toReversed()) {
    let page = (end + 1n) / pgsize * pgsize - pgsize;
    for (const { iova, size } of mappings.toReversed()) {
      if (iova < page + pgsize && page < iova + size) page = iova - pgsize;
    }
    if (page >= start) return page;
  }
  return null;
}
