/**
 * UNMAP_DMA with the last dirty bits.
 *
 * @module
 */

import {
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
} from "../../../src/uapi/mod.ts";
import { KERNEL_ADDRESS, PAGE, pages } from "./asker.ts";
import type { CaseGroup } from "./case.ts";

const START = VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
const GET_DIRTY = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
const TOP = 1n << 64n;
const NONE = "0000000000000000";
const ONES = "ffffffffffffffff";

export const UNMAPPING: CaseGroup = {
  name: "unmapping with a bitmap",
  opened: true,
  cases: [
    { name: "MAP pages 0-99", ask: (a) => a.map(0, 100), answer: "0" },
    { name: "MAP pages 100-163", ask: (a) => a.map(100, 64), answer: "0" },
    { name: "MAP pages 256-383", ask: (a) => a.map(256, 128), answer: "0" },
    { name: "before START", ask: (a) => a.unmapWithBitmap(256, 128), answer: "EINVAL" },
    { name: "START", ask: (a) => a.dirty(START), answer: "0" },
    { name: "argsz 24", ask: (a) => a.unmapWithBitmap(256, 128, { argsz: 24 }), answer: "EINVAL" },
    { name: "argsz 47", ask: (a) => a.unmapWithBitmap(256, 128, { argsz: 47 }), answer: "EINVAL" },
    {
      name: "pgsize 8192",
      ask: (a) => a.unmapWithBitmap(256, 128, { pgsize: 8192n }),
      answer: "EINVAL",
    },
    { name: "pgsize 0", ask: (a) => a.unmapWithBitmap(256, 128, { pgsize: 0n }), answer: "EINVAL" },
    {
      name: "8 bytes for 128 pages",
      ask: (a) => a.unmapWithBitmap(256, 128, { bytes: 8n }),
      answer: "EINVAL",
    },
    {
      name: "0 bytes",
      ask: (a) => a.unmapWithBitmap(256, 128, { bytes: 0n }),
      answer: "EINVAL",
    },
    {
      name: "256 MiB and 8 bytes",
      ask: (a) => a.unmapWithBitmap(256, 128, { bytes: (1n << 28n) + 8n }),
      answer: "EINVAL",
    },
    {
      name: "with UNMAP_ALL",
      ask: (a) => a.unmapWithBitmap(0, 0, { flags: GET_DIRTY | VFIO_DMA_UNMAP_FLAG_ALL }),
      answer: "EINVAL",
    },
    {
      name: "with VADDR",
      ask: (a) => a.unmapWithBitmap(256, 128, { flags: GET_DIRTY | VFIO_DMA_UNMAP_FLAG_VADDR }),
      answer: "EINVAL",
    },
    {
      name: "bitmap at an address of the kernel's",
      ask: (a) => a.unmapWithBitmap(256, 128, { data: KERNEL_ADDRESS }),
      answer: "EINVAL",
    },
    {
      name: "iova not aligned",
      ask: (a) => a.unmapWithBitmap(256, 128, { iova: 1n }),
      answer: "EINVAL",
    },
    {
      name: "size not aligned",
      ask: (a) => a.unmapWithBitmap(256, 128, { size: pages(128) + 1n, bytes: 24n }),
      answer: "EINVAL",
    },
    { name: "half of a mapping", ask: (a) => a.unmapWithBitmap(256, 64), answer: "EINVAL" },
    {
      name: "bitmap at NULL",
      ask: (a) => a.unmapWithBitmap(256, 128, { data: 0n }),
      answer: "EFAULT",
    },
    { name: "the mapping is still there", ask: (a) => a.map(256, 128), answer: "EEXIST" },
    {
      name: "pages 256-383, three of them written",
      ask: (a) => {
        for (const page of [256, 306, 356]) a.dma.write(pages(page), 1);
        return a.unmapWithBitmap(256, 128);
      },
      answer: "0 unmapped 128 pages, 0004000000000001 0000001000000000",
      only: "dma",
    },
    {
      name: "what is not mapped",
      ask: (a) => a.unmapWithBitmap(400, 128),
      answer: `0 unmapped 0 pages, ${NONE} ${NONE}`,
    },
    {
      name: "two mappings at once",
      ask: (a) => a.unmapWithBitmap(0, 164),
      answer: `0 unmapped 164 pages, ${NONE} ${NONE} ${NONE}`,
      hardware: {
        // The second mapping first: the first one's last word goes over it.
        "5.10": `0 unmapped 164 pages, ${ONES} 0000000fffffffff 0000000fffffffff`,
        "6.1": `0 unmapped 164 pages, ${ONES} ${ONES} 0000000fffffffff`,
      },
    },
    { name: "they are gone", ask: (a) => a.map(0, 164), answer: "0" },
    {
      name: "a pinned page",
      ask: (a) => {
        a.dma.pin(pages(3), 1);
        return a.unmapWithBitmap(0, 164);
      },
      answer: `0 unmapped 164 pages, 0000000000000008 ${NONE} ${NONE}`,
      only: "dma",
    },
    {
      name: "the last page there is",
      ask: (a) => {
        a.mapAt(TOP - PAGE, PAGE, a.ram.address);
        return a.unmapWithBitmap(0, 1, { iova: TOP - PAGE });
      },
      answer: { "5.10": `0 unmapped 0 pages, ${NONE}`, "7.0": `0 unmapped 1 pages, ${NONE}` },
      only: "no-hardware",
    },
    {
      name: "the bitmap ends in no memory: the mappings before are gone, and their bits",
      ask: (a) => {
        a.map(512, 64);
        a.map(576, 64);
        a.dma.write(pages(513), 1);
        try {
          a.unmapWithBitmap(512, 128, { data: a.bitmapAtTheEdge, bytes: 16n });
        } catch {
          a.map(512, 64);
          return a.get(512, 64);
        }
        return "did not fail";
      },
      // The second mapping first, here too: where that fails, both are still there.
      answer: { "5.10": "EEXIST", "6.1": `0 ${NONE}` },
      only: "dma",
    },
    {
      name: "and the one that failed is not",
      ask: (a) => a.map(576, 64),
      answer: "EEXIST",
      only: "dma",
    },
  ],
};
