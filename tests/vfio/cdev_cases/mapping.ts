/**
 * IOAS_MAP, IOAS_UNMAP and IOVA_RANGES of an IOAS that a device is attached to,
 * and the device's DMA.
 *
 * @module
 */

import {
  IOMMU_IOAS_IOVA_RANGES,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_UNMAP,
} from "../../../src/uapi/mod.ts";
import type { CaseGroup } from "../../dirty/type1_cases/case.ts";
import { type CdevAsker, FIXED_RW, NOT_MAPPED, PAGE, ULONG_MAX } from "./asker.ts";

const TOP = ULONG_MAX + 1n;
const ALL = { emulated: "0x0-0xffffffffffffffff", hardware: "0x0-0xfedfffff 0xfef00000-" };

export const MAPPING: CaseGroup<CdevAsker> = {
  name: "mapping",
  opened: true,
  cases: [
    {
      name: "IOVA_RANGES",
      ask: (a) => a.ranges(8),
      answer: `0 alignment 4096, ${ALL.emulated}`,
      hardware: `0 alignment 4096, ${ALL.hardware}0xffffffffffff`,
    },
    { name: "IOVA_RANGES with no room", ask: (a) => a.ranges(0), answer: "EMSGSIZE" },
    {
      name: "IOVA_RANGES to no memory",
      ask: (a) => a.ranges(8, { at: NOT_MAPPED }),
      answer: "EFAULT",
    },
    {
      name: "IOVA_RANGES, reserved not 0",
      ask: (a) => a.ranges(8, { reserved: 1 }),
      answer: "EOPNOTSUPP",
    },
    { name: "IOVA_RANGES of no IOAS", ask: (a) => a.ranges(8, { ioas: 1 }), answer: "ENOENT" },
    {
      name: "IOVA_RANGES with no argument",
      ask: (a) => void a.ioctl(a.iommufd, IOMMU_IOAS_IOVA_RANGES),
      answer: "EFAULT",
    },
    {
      name: "MAP with no argument",
      ask: (a) => void a.ioctl(a.iommufd, IOMMU_IOAS_MAP),
      answer: "EFAULT",
    },
    { name: "MAP one byte short", ask: (a) => a.map(0, 1, { size: 39 }), answer: "EINVAL" },
    {
      name: "MAP with more than it has",
      ask: (a) => a.map(0, 1, { size: 48, behind: 1 }),
      answer: "E2BIG",
    },
    {
      name: "MAP unknown flag",
      ask: (a) => a.map(0, 1, { flags: FIXED_RW | 8 }),
      answer: "EOPNOTSUPP",
    },
    { name: "MAP, reserved not 0", ask: (a) => a.map(0, 1, { reserved: 1 }), answer: "EOPNOTSUPP" },
    {
      name: "MAP neither to be read nor written",
      ask: (a) => a.map(0, 1, { flags: IOMMU_IOAS_MAP_FIXED_IOVA }),
      answer: "EINVAL",
    },
    { name: "MAP into no IOAS", ask: (a) => a.map(0, 1, { ioas: 77 }), answer: "ENOENT" },
    { name: "MAP into a device", ask: (a) => a.map(0, 1, { ioas: 1 }), answer: "ENOENT" },
    { name: "MAP iova not aligned", ask: (a) => a.mapAt(1n, PAGE), answer: "EINVAL" },
    { name: "MAP length not aligned", ask: (a) => a.mapAt(0n, PAGE + 1n), answer: "EINVAL" },
    {
      name: "MAP address not aligned",
      ask: (a) => a.mapAt(0n, PAGE, { vaddr: a.ram.address + 1n }),
      answer: "EINVAL",
    },
    { name: "MAP length 0", ask: (a) => a.mapAt(0n, 0n), answer: "EINVAL" },
    { name: "MAP iova wraps", ask: (a) => a.mapAt(TOP - PAGE, 2n * PAGE), answer: "EOVERFLOW" },
    { name: "MAP at the last byte", ask: (a) => a.mapAt(ULONG_MAX, PAGE), answer: "EOVERFLOW" },
    { name: "MAP of 2^64-1 bytes", ask: (a) => a.mapAt(0n, ULONG_MAX), answer: "EOVERFLOW" },
    {
      name: "MAP address wraps",
      ask: (a) => a.mapAt(0n, 2n * PAGE, { vaddr: TOP - PAGE }),
      answer: "EOVERFLOW",
    },
    {
      name: "MAP of a length within a page of 2^64, and an address that wraps",
      ask: (a) => a.mapAt(0n, ULONG_MAX - 1n, { vaddr: TOP - PAGE }),
      answer: "EINVAL",
    },
    {
      name: "MAP of what is not mapped in the process",
      ask: (a) => a.mapAt(0n, PAGE, { vaddr: NOT_MAPPED }),
      answer: "0",
      hardware: "EFAULT",
    },
    {
      name: "UNMAP of that",
      ask: (a) => a.unmap(0, 1),
      answer: "0 unmapped 1 pages",
      hardware: "ENOENT",
    },
    {
      name: "MAP over 0xfee00000, where x86 sends its interrupts",
      ask: (a) => a.mapAt(0xfee0_0000n, PAGE),
      answer: "0",
      hardware: "EINVAL",
    },
    {
      name: "MAP of the last page there is",
      ask: (a) => a.mapAt(TOP - PAGE, PAGE),
      answer: "0",
      hardware: "EINVAL",
    },
    {
      name: "UNMAP of the last page there is",
      ask: (a) => a.unmapAt(TOP - PAGE, PAGE),
      answer: "0 unmapped 1 pages",
      hardware: "ENOENT",
    },
    { name: "MAP pages 0-99", ask: (a) => a.map(0, 100), answer: "0" },
    { name: "MAP the same again", ask: (a) => a.map(0, 100), answer: "EEXIST" },
    { name: "MAP over its end", ask: (a) => a.map(99, 2), answer: "EEXIST" },
    { name: "MAP pages 100-163", ask: (a) => a.map(100, 64), answer: "0" },
    { name: "MAP pages 256-383", ask: (a) => a.map(256, 128), answer: "0" },
    {
      name: "UNMAP with no argument",
      ask: (a) => void a.ioctl(a.iommufd, IOMMU_IOAS_UNMAP),
      answer: "EFAULT",
    },
    { name: "UNMAP one byte short", ask: (a) => a.unmapAt(0n, PAGE, 23), answer: "EINVAL" },
    { name: "UNMAP length 0", ask: (a) => a.unmapAt(0n, 0n), answer: "EINVAL" },
    { name: "UNMAP iova wraps", ask: (a) => a.unmapAt(TOP - PAGE, 2n * PAGE), answer: "EOVERFLOW" },
    { name: "UNMAP at the last byte", ask: (a) => a.unmapAt(ULONG_MAX, 1n), answer: "EOVERFLOW" },
    {
      name: "UNMAP of 2^64-1 bytes, not from 0",
      ask: (a) => a.unmapAt(PAGE, ULONG_MAX),
      answer: "EOVERFLOW",
    },
    { name: "UNMAP cuts a mapping at its end", ask: (a) => a.unmap(0, 50), answer: "ENOENT" },
    { name: "UNMAP cuts a mapping at its start", ask: (a) => a.unmap(50, 50), answer: "ENOENT" },
    { name: "UNMAP cuts the second of two", ask: (a) => a.unmap(0, 120), answer: "ENOENT" },
    {
      name: "MAP pages 0-99: the first of the two is gone",
      ask: (a) => a.map(0, 100),
      answer: "0",
    },
    { name: "MAP pages 100-163: the second is not", ask: (a) => a.map(100, 64), answer: "EEXIST" },
    {
      name: "UNMAP of more than a mapping",
      ask: (a) => a.unmap(250, 200),
      answer: "0 unmapped 128 pages",
    },
    { name: "UNMAP where nothing is", ask: (a) => a.unmap(250, 200), answer: "ENOENT" },
    { name: "UNMAP of two mappings", ask: (a) => a.unmap(0, 164), answer: "0 unmapped 164 pages" },
    {
      name: "UNMAP of everything",
      ask: (a) => {
        a.map(0, 3);
        a.map(10, 4);
        return a.unmapAt(0n, ULONG_MAX);
      },
      // Without hardware the page at 0xfee00000 is there as well.
      answer: "0 unmapped 8 pages",
      hardware: "0 unmapped 7 pages",
    },
    {
      name: "UNMAP of everything where nothing is",
      ask: (a) => a.unmapAt(0n, ULONG_MAX),
      answer: "0 unmapped 0 pages",
    },
    {
      name: "MAP after the device is closed",
      ask: (a) => {
        a.closeDevice();
        return a.map(500, 1);
      },
      answer: "0",
    },
  ],
};

export const DMA: CaseGroup<CdevAsker> = {
  name: "DMA",
  opened: true,
  cases: [
    { name: "MAP pages 0-9", ask: (a) => a.map(0, 10), answer: "0", only: "dma" },
    {
      name: "MAP page 20, to be read",
      ask: (a) => a.map(20, 1, { flags: IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE }),
      answer: "0",
      only: "dma",
    },
    {
      name: "the device writes: it is in the memory",
      ask: (a) => {
        const [before, after] = [new Uint8Array(1), new Uint8Array(1)];
        a.ram.write(Number(3n * PAGE), new Uint8Array([0xaa]));
        a.ram.read(Number(3n * PAGE), before);
        a.dma.write(3n * PAGE, 1);
        a.ram.read(Number(3n * PAGE), after);
        return before[0] === after[0] ? "unchanged" : "changed";
      },
      answer: "0 changed",
      only: "dma",
    },
    {
      name: "the device writes where nothing is mapped",
      ask: (a) => a.dma.write(15n * PAGE, 1),
      answer: "ENOENT",
      only: "dma",
    },
    {
      name: "the device writes what it may only read",
      ask: (a) => a.dma.write(20n * PAGE, 1),
      answer: "EPERM",
      only: "dma",
    },
    { name: "the device pins", ask: (a) => a.dma.pin(0n, 5), answer: "0", only: "dma" },
    {
      name: "UNMAP with pages pinned",
      ask: (a) => a.unmap(0, 10),
      answer: "0 unmapped 10 pages",
      only: "dma",
    },
    {
      name: "the device writes when it is detached",
      ask: (a) => {
        a.map(0, 10);
        a.detach();
        a.dma.write(0n, 1);
      },
      answer: "ENOENT",
      only: "dma",
    },
    {
      name: "the device writes when it is attached anew",
      ask: (a) => {
        a.attach(a.ioas);
        a.dma.write(0n, 1);
      },
      answer: "0",
      only: "dma",
    },
    {
      name: "DETACH with pages pinned",
      ask: (a) => {
        a.dma.pin(0n, 5);
        a.detach();
      },
      answer: "0",
      only: "dma",
    },
  ],
};
