/**
 * MAP_DMA and UNMAP_DMA, without dirty pages.
 *
 * @module
 */

import {
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
} from "../../../src/uapi/mod.ts";
import { NOT_MAPPED, PAGE, pages, RW } from "./asker.ts";
import type { CaseGroup } from "./case.ts";

const TOP = 1n << 64n;

export const MAPPING: CaseGroup = {
  name: "mapping",
  opened: true,
  cases: [
    {
      name: "MAP with no argument",
      ask: (a) => void a.ioctl(a.container, VFIO_IOMMU_MAP_DMA),
      answer: "EFAULT",
    },
    {
      name: "MAP iova not aligned",
      ask: (a) => a.mapAt(1n, PAGE, a.ram.address),
      answer: "EINVAL",
    },
    {
      name: "MAP vaddr not aligned",
      ask: (a) => a.mapAt(0n, PAGE, a.ram.address + 1n),
      answer: "EINVAL",
    },
    {
      name: "MAP size not aligned",
      ask: (a) => a.mapAt(0n, PAGE + 1n, a.ram.address),
      answer: "EINVAL",
    },
    { name: "MAP size 0", ask: (a) => a.mapAt(0n, 0n, a.ram.address), answer: "EINVAL" },
    { name: "MAP flags 0", ask: (a) => a.map(0, 1, 0), answer: "EINVAL" },
    { name: "MAP unknown flag", ask: (a) => a.map(0, 1, RW | 8), answer: "EINVAL" },
    {
      name: "MAP iova wraps",
      ask: (a) => a.mapAt(TOP - PAGE, 2n * PAGE, a.ram.address),
      answer: { "5.10": "EINVAL", "7.0": "EOVERFLOW" },
    },
    {
      name: "MAP of what is not mapped in the process",
      ask: (a) => a.mapAt(0n, PAGE, NOT_MAPPED),
      answer: "0",
      hardware: "EFAULT",
    },
    {
      name: "UNMAP of that",
      ask: (a) => a.unmap(0, 1),
      answer: "0 unmapped 1 pages",
      hardware: "0 unmapped 0 pages",
    },
    {
      name: "MAP over 0xfee00000, where x86 sends its interrupts",
      ask: (a) => a.mapAt(0xfee0_0000n, PAGE, a.ram.address),
      answer: "0",
      hardware: "EINVAL",
    },
    {
      name: "MAP of the last page there is",
      ask: (a) => a.mapAt(TOP - PAGE, PAGE, a.ram.address),
      answer: "0",
      hardware: "EINVAL",
    },
    {
      name: "UNMAP of the last page there is, whose end is 0 to a u64: it stays",
      ask: (a) => a.unmapAt(TOP - PAGE, PAGE),
      answer: { "5.10": "0 unmapped 0 pages", "7.0": "0 unmapped 1 pages" },
      hardware: "0 unmapped 0 pages",
    },
    { name: "MAP pages 0-99", ask: (a) => a.map(0, 100), answer: "0" },
    { name: "MAP the same again", ask: (a) => a.map(0, 100), answer: "EEXIST" },
    { name: "MAP over its end", ask: (a) => a.map(99, 2), answer: "EEXIST" },
    { name: "MAP pages 100-163", ask: (a) => a.map(100, 64), answer: "0" },
    { name: "MAP pages 256-383", ask: (a) => a.map(256, 128), answer: "0" },
    {
      name: "UNMAP with no argument",
      ask: (a) => void a.ioctl(a.container, VFIO_IOMMU_UNMAP_DMA),
      answer: "EFAULT",
    },
    {
      name: "UNMAP argsz one byte short",
      ask: (a) => a.unmapAt(0n, PAGE, 0, 23),
      answer: "EINVAL",
    },
    { name: "UNMAP unknown flag", ask: (a) => a.unmap(0, 100, 8), answer: "EINVAL" },
    { name: "UNMAP iova not aligned", ask: (a) => a.unmapAt(1n, PAGE), answer: "EINVAL" },
    { name: "UNMAP size not aligned", ask: (a) => a.unmapAt(0n, PAGE + 1n), answer: "EINVAL" },
    { name: "UNMAP size 0", ask: (a) => a.unmapAt(0n, 0n), answer: "EINVAL" },
    {
      name: "UNMAP iova wraps",
      ask: (a) => a.unmapAt(TOP - PAGE, 2n * PAGE),
      answer: { "5.10": "EINVAL", "7.0": "EOVERFLOW" },
    },
    { name: "UNMAP cuts a mapping at its end", ask: (a) => a.unmap(0, 50), answer: "EINVAL" },
    { name: "UNMAP cuts a mapping at its start", ask: (a) => a.unmap(50, 50), answer: "EINVAL" },
    { name: "UNMAP cuts the second of two", ask: (a) => a.unmap(0, 120), answer: "EINVAL" },
    {
      name: "UNMAP of more than a mapping",
      ask: (a) => a.unmap(250, 200),
      answer: "0 unmapped 128 pages",
    },
    {
      name: "UNMAP where nothing is",
      ask: (a) => a.unmap(250, 200),
      answer: "0 unmapped 0 pages",
    },
    {
      name: "UNMAP of two mappings",
      ask: (a) => a.unmap(0, 164),
      answer: "0 unmapped 164 pages",
    },
    {
      name: "UNMAP_ALL with a range",
      ask: (a) => a.unmapAt(0n, PAGE, VFIO_DMA_UNMAP_FLAG_ALL),
      answer: "EINVAL",
    },
    {
      name: "UNMAP_ALL",
      ask: (a) => {
        a.map(0, 3);
        a.map(10, 4);
        return a.unmapAt(0n, 0n, VFIO_DMA_UNMAP_FLAG_ALL);
      },
      // Without hardware the page at 0xfee00000 is there as well, and the last one.
      answer: { "5.10": "EINVAL", "6.1": "0 unmapped 9 pages", "7.0": "0 unmapped 8 pages" },
      hardware: { "5.10": "EINVAL", "6.1": "0 unmapped 7 pages" },
    },
    {
      name: "MAP after the device is closed",
      ask: (a) => {
        a.closeDevice();
        a.map(500, 1);
      },
      answer: "0",
    },
  ],
};

export const LIMITS: CaseGroup = {
  name: "limits",
  opened: true,
  cases: [
    {
      name: "MAP 65535 times",
      ask: (a) => {
        for (let i = 0; i < 65535; i++) a.mapAt(pages(2 * i), PAGE, a.ram.address);
      },
      answer: "0",
      only: "no-hardware",
    },
    {
      name: "MAP once more",
      ask: (a) => a.mapAt(1n << 40n, PAGE, a.ram.address),
      answer: "ENOSPC",
      only: "no-hardware",
    },
    {
      name: "MAP over one of them comes before the limit",
      ask: (a) => a.map(0, 1),
      answer: "EEXIST",
      only: "no-hardware",
    },
    {
      name: "MAP in place of one",
      ask: (a) => {
        a.unmap(2, 1);
        a.map(2, 1);
      },
      answer: "0",
      only: "no-hardware",
    },
  ],
};
