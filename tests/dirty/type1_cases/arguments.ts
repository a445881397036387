/**
 * DIRTY_PAGES: START, STOP, and what GET_BITMAP may be asked.
 *
 * @module
 */

import {
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
} from "../../../src/uapi/mod.ts";
import { KERNEL_ADDRESS, PAGE, pages } from "./asker.ts";
import type { Case, CaseGroup } from "./case.ts";

const START = VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
const STOP = VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP;
const GET = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
const TOP = 1n << 64n;
const ONES = "ffffffffffffffff";
const NONE = "0000000000000000";

/** So many pages in words, all dirty, and what is behind them in the last word clean. */
function all(count: number): string {
  const last = count % 64 === 0 ? [] : [((1n << BigInt(count % 64)) - 1n).toString(16)];
  return [...Array.from({ length: Math.floor(count / 64) }, () => ONES), ...last]
    .map((word) => word.padStart(16, "0")).join(" ");
}

function none(words: number): string {
  return Array.from({ length: words }, () => NONE).join(" ");
}

const MAPS: readonly Case[] = [
  { name: "MAP pages 0-99", ask: (a) => a.map(0, 100), answer: "0" },
  { name: "MAP pages 100-163", ask: (a) => a.map(100, 64), answer: "0" },
  { name: "MAP pages 256-383", ask: (a) => a.map(256, 128), answer: "0" },
];

export const FLAGS: CaseGroup = {
  name: "start and stop",
  opened: true,
  cases: [
    ...MAPS,
    {
      name: "DIRTY_PAGES with no argument",
      ask: (a) => void a.ioctl(a.container, VFIO_IOMMU_DIRTY_PAGES),
      answer: "EFAULT",
    },
    { name: "GET before START", ask: (a) => a.get(0, 100), answer: "EINVAL" },
    { name: "STOP before START", ask: (a) => a.dirty(STOP), answer: "0" },
    { name: "no flag", ask: (a) => a.dirty(0), answer: "EINVAL" },
    { name: "START and STOP", ask: (a) => a.dirty(START | STOP), answer: "EINVAL" },
    { name: "START and GET", ask: (a) => a.dirty(START | GET), answer: "EINVAL" },
    { name: "all three flags", ask: (a) => a.dirty(START | STOP | GET), answer: "EINVAL" },
    { name: "an unknown flag", ask: (a) => a.dirty(8), answer: "EINVAL" },
    { name: "START and an unknown flag", ask: (a) => a.dirty(START | 8), answer: "EINVAL" },
    { name: "START argsz 4", ask: (a) => a.dirty(START, 4), answer: "EINVAL" },
    { name: "START", ask: (a) => a.dirty(START), answer: "0" },
    { name: "START twice", ask: (a) => a.dirty(START), answer: "0" },
    {
      name: "GET of two mappings",
      ask: (a) => a.get(0, 164),
      answer: `0 ${none(3)}`,
      hardware: `0 ${all(164)}`,
    },
    {
      name: "GET of both again: pages behind the second are dirty too",
      ask: (a) => a.get(0, 164),
      answer: `0 ${none(3)}`,
      hardware: `0 ${all(192)}`,
    },
    { name: "STOP", ask: (a) => a.dirty(STOP), answer: "0" },
    { name: "STOP twice", ask: (a) => a.dirty(STOP), answer: "0" },
    { name: "GET after STOP", ask: (a) => a.get(0, 100), answer: "EINVAL" },
    { name: "START anew", ask: (a) => a.dirty(START), answer: "0" },
    { name: "MAP pages 512-575 meanwhile", ask: (a) => a.map(512, 64), answer: "0" },
    {
      name: "GET of what is new",
      ask: (a) => a.get(512, 64),
      answer: `0 ${none(1)}`,
      hardware: `0 ${all(64)}`,
    },
    {
      name: "GET after the device is closed",
      ask: (a) => {
        a.closeDevice();
        return a.get(512, 64);
      },
      answer: `0 ${none(1)}`,
      hardware: `0 ${all(64)}`,
    },
  ],
};

export const ARGUMENTS: CaseGroup = {
  name: "what may be asked",
  opened: true,
  cases: [
    ...MAPS,
    { name: "START", ask: (a) => a.dirty(START), answer: "0" },
    {
      name: "argsz of the header alone",
      ask: (a) => a.get(0, 100, { argsz: 8 }),
      answer: "EINVAL",
    },
    { name: "argsz one byte short", ask: (a) => a.get(0, 100, { argsz: 47 }), answer: "EINVAL" },
    { name: "pgsize 8192", ask: (a) => a.get(0, 100, { pgsize: 8192n }), answer: "EINVAL" },
    { name: "pgsize 2 MiB", ask: (a) => a.get(0, 512, { pgsize: 1n << 21n }), answer: "EINVAL" },
    {
      name: "pgsize 2048",
      ask: (a) => a.get(0, 100, { pgsize: 2048n, bytes: 64n }),
      answer: "EINVAL",
    },
    {
      name: "pgsize 4097",
      ask: (a) => a.get(0, 1, { pgsize: 4097n, bytes: 512n }),
      answer: "EINVAL",
    },
    { name: "pgsize 3", ask: (a) => a.get(0, 1, { pgsize: 3n, bytes: 512n }), answer: "EINVAL" },
    { name: "pgsize 0", ask: (a) => a.get(0, 100, { pgsize: 0n }), answer: "EINVAL" },
    { name: "iova not aligned", ask: (a) => a.get(0, 100, { iova: 1n }), answer: "EINVAL" },
    {
      name: "size not aligned",
      ask: (a) => a.get(0, 100, { size: pages(100) + 1n }),
      answer: "EINVAL",
    },
    { name: "size 0", ask: (a) => a.get(0, 0), answer: "EINVAL" },
    {
      name: "iova + size wraps",
      ask: (a) => a.get(0, 2, { iova: TOP - PAGE }),
      answer: { "5.10": "EINVAL", "7.0": "EOVERFLOW" },
    },
    {
      name: "iova + size is 2^64",
      ask: (a) => a.get(0, 1, { iova: TOP - PAGE }),
      answer: { "5.10": "EINVAL", "7.0": `0 ${NONE}` },
    },
    {
      name: "100 pages, bitmap of 13 bytes",
      ask: (a) => a.get(0, 100, { bytes: 13n }),
      answer: "EINVAL",
    },
    {
      name: "100 pages, bitmap of 8 bytes",
      ask: (a) => a.get(0, 100, { bytes: 8n }),
      answer: "EINVAL",
    },
    {
      name: "100 pages, bitmap of 15 bytes",
      ask: (a) => a.get(0, 100, { bytes: 15n }),
      answer: "EINVAL",
    },
    {
      name: "100 pages, bitmap of 16 bytes",
      ask: (a) => a.get(0, 100, { bytes: 16n }),
      answer: `0 ${none(2)}`,
      hardware: `0 ${all(100)}`,
    },
    { name: "bitmap of 0 bytes", ask: (a) => a.get(0, 100, { bytes: 0n }), answer: "EINVAL" },
    {
      name: "bitmap of 256 MiB",
      ask: (a) => a.get(0, 100, { bytes: 1n << 28n }),
      answer: `0 ${none(2)}`,
      hardware: `0 ${all(100)}`,
    },
    {
      name: "bitmap of 256 MiB and 8 bytes",
      ask: (a) => a.get(0, 100, { bytes: (1n << 28n) + 8n }),
      answer: "EINVAL",
    },
    { name: "bitmap at NULL", ask: (a) => a.get(0, 100, { data: 0n }), answer: "EFAULT" },
    {
      name: "bitmap at an address of the kernel's",
      ask: (a) => a.get(0, 100, { data: KERNEL_ADDRESS }),
      answer: "EINVAL",
    },
    {
      name: "bitmap at an odd address",
      ask: (a) => void a.get(0, 100, { data: a.bitmapOdd }),
      answer: "0",
    },
    { name: "cuts a mapping at its end", ask: (a) => a.get(0, 50), answer: "EINVAL" },
    { name: "cuts a mapping at its start", ask: (a) => a.get(50, 50), answer: "EINVAL" },
    {
      name: "starts in one, ends where the next does",
      ask: (a) => a.get(50, 114),
      answer: "EINVAL",
    },
    { name: "cuts the second of two", ask: (a) => a.get(0, 120), answer: "EINVAL" },
    { name: "where nothing is mapped", ask: (a) => a.get(164, 92), answer: `0 ${none(2)}` },
    {
      name: "where nothing is mapped, over ones: nothing is written",
      ask: (a) => a.get(164, 92, { prefill: 0xff }),
      answer: `0 ${ONES} ${ONES}`,
    },
    {
      name: "with holes in it",
      ask: (a) => a.get(0, 512),
      answer: `0 ${none(8)}`,
      hardware: `0 ${ONES} ${ONES} ${all(36)} ${NONE} ${ONES} ${ONES} ${NONE} ${NONE}`,
    },
    {
      name: "with holes in it, over ones: they stay in words that no mapping reaches",
      ask: (a) => a.get(0, 512, { prefill: 0xff }),
      answer: `0 ${none(3)} ${ONES} ${none(2)} ${ONES} ${ONES}`,
      hardware: `0 ${all(512)}`,
    },
  ],
};

export const TOO_LARGE: CaseGroup = {
  name: "a mapping of 2^31 pages",
  opened: true,
  cases: [
    {
      name: "MAP 8 TiB",
      ask: (a) => a.mapAt(0n, 1n << 43n, 1n << 20n),
      answer: "0",
      only: "no-hardware",
    },
    { name: "START", ask: (a) => a.dirty(START), answer: "EINVAL", only: "no-hardware" },
    {
      name: "GET: nothing was started",
      ask: (a) => a.get(0, 64, { iova: 1n << 44n }),
      answer: "EINVAL",
      only: "no-hardware",
    },
    {
      name: "UNMAP it",
      ask: (a) => a.unmapAt(0n, 1n << 43n),
      answer: "0 unmapped 2147483648 pages",
      only: "no-hardware",
    },
    { name: "START without it", ask: (a) => a.dirty(START), answer: "0" },
    {
      name: "MAP 8 TiB meanwhile",
      ask: (a) => a.mapAt(0n, 1n << 43n, 1n << 20n),
      answer: "EINVAL",
      only: "no-hardware",
    },
    {
      name: "MAP at its place: it was undone",
      ask: (a) => a.map(0, 1),
      answer: "0",
      only: "no-hardware",
    },
  ],
};
