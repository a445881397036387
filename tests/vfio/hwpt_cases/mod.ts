/**
 * IOMMU_GET_HW_INFO, IOMMU_HWPT_ALLOC, IOMMU_HWPT_SET_DIRTY_TRACKING and
 * IOMMU_HWPT_GET_DIRTY_BITMAP, and what Linux 6.12 answers.
 *
 * @module
 */

import * as uapi from "../../../src/uapi/mod.ts";
import type { CaseGroup } from "../../dirty/type1_cases/case.ts";
import { BASE, type HwptAsker, PAGE } from "./asker.ts";

export { BASE, type BoundDevice, HwptAsker, type HwptHost, PAGE } from "./asker.ts";

const NO_CLEAR = uapi.IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR;
const DIRTY = { flags: uapi.IOMMU_HWPT_ALLOC_DIRTY_TRACKING };
const UNKNOWN = 1 << 30;
const TOP = 1n << 64n;

const TABLES: CaseGroup<HwptAsker> = {
  name: "page tables",
  opened: true,
  cases: [
    { name: "HW_INFO", ask: (a) => a.hwInfo(a.device.id), answer: "0 capabilities 0x1" },
    {
      name: "HW_INFO of one that does not track",
      ask: (a) => a.hwInfo(a.other.id),
      answer: "0 capabilities 0x0",
    },
    {
      name: "HW_INFO with no argument",
      ask: (a) => a.ioctl(uapi.IOMMU_GET_HW_INFO),
      answer: "EFAULT",
    },
    {
      name: "HW_INFO one byte short",
      ask: (a) => a.hwInfo(a.device.id, { size: 31 }),
      answer: "EINVAL",
    },
    {
      name: "HW_INFO with more than it has",
      ask: (a) => a.hwInfo(a.device.id, { size: 48, behind: 1 }),
      answer: "E2BIG",
    },
    {
      name: "HW_INFO unknown flag, of no device",
      ask: (a) => a.hwInfo(99, { flags: UNKNOWN }),
      answer: "EOPNOTSUPP",
    },
    {
      name: "HW_INFO, reserved not 0, of no device",
      ask: (a) => a.hwInfo(99, { reserved: 1 }),
      answer: "EOPNOTSUPP",
    },
    { name: "HW_INFO of no device", ask: (a) => a.hwInfo(99), answer: "ENOENT" },
    { name: "HW_INFO of an IOAS", ask: (a) => a.hwInfo(a.ioas), answer: "ENOENT" },
    {
      name: "HWPT_ALLOC, reserved not 0, for no device",
      ask: (a) => void a.allocate(99, a.ioas, { __reserved: 1 }),
      answer: "EOPNOTSUPP",
    },
    {
      name: "HWPT_ALLOC with data of no type, for no device",
      ask: (a) => void a.allocate(99, a.ioas, { data_len: 8 }),
      answer: "EINVAL",
    },
    {
      name: "HWPT_ALLOC for no device, of no IOAS",
      ask: (a) => void a.allocate(99, 98),
      answer: "ENOENT",
    },
    {
      name: "HWPT_ALLOC of no IOAS, unknown flag",
      ask: (a) => void a.allocate(a.device.id, 98, { flags: UNKNOWN }),
      answer: "EINVAL",
    },
    {
      name: "HWPT_ALLOC of a device",
      ask: (a) => void a.allocate(a.device.id, a.device.id),
      answer: "EINVAL",
    },
    {
      name: "HWPT_ALLOC unknown flag",
      ask: (a) => void a.allocate(a.device.id, a.ioas, { flags: UNKNOWN }),
      answer: "EOPNOTSUPP",
    },
    {
      name: "HWPT_ALLOC with tracking for a device that does not track",
      ask: (a) => void a.allocate(a.other.id, a.ioas, DIRTY),
      answer: "EOPNOTSUPP",
    },
    {
      name: "HWPT_ALLOC without tracking",
      ask: (a) => void (a.plain = a.allocate(a.device.id, a.ioas)),
      answer: "0",
    },
    {
      name: "HWPT_ALLOC with tracking",
      ask: (a) => void (a.hwpt = a.allocate(a.device.id, a.ioas, DIRTY)),
      answer: "0",
    },
    {
      name: "HWPT_ALLOC with tracking, of a page table",
      ask: (a) => void a.allocate(a.device.id, a.plain, DIRTY),
      answer: "EOPNOTSUPP",
    },
    {
      name: "attach one that does not track to a page table that does",
      ask: (a) => a.other.attach(a.hwpt),
      answer: "EINVAL",
    },
    { name: "attach one that tracks", ask: (a) => a.device.attach(a.hwpt), answer: "0" },
    { name: "attach it again", ask: (a) => a.device.attach(a.hwpt), answer: "0" },
    { name: "DESTROY of that page table", ask: (a) => a.destroy(a.hwpt), answer: "EBUSY" },
    {
      name: "attach it to one that does not track",
      ask: (a) => a.device.attach(a.plain),
      answer: "0",
    },
    { name: "DESTROY of the first page table", ask: (a) => a.destroy(a.hwpt), answer: "0" },
    { name: "attach it to the IOAS", ask: (a) => a.device.attach(a.ioas), answer: "0" },
    {
      name: "DESTROY of an IOAS that has a page table",
      ask: (a) => {
        a.unbind();
        a.destroy(a.ioas);
      },
      answer: "EBUSY",
    },
    {
      name: "DESTROY of the page table, and then of the IOAS",
      ask: (a) => {
        a.destroy(a.plain);
        a.destroy(a.ioas);
      },
      answer: "0",
    },
  ],
};

const TRACKING: CaseGroup<HwptAsker> = {
  name: "tracking",
  opened: true,
  cases: [
    {
      name: "MAP pages 0-63",
      ask: (a) => {
        a.plain = a.allocate(a.device.id, a.ioas);
        a.hwpt = a.allocate(a.device.id, a.ioas, DIRTY);
        a.device.attach(a.hwpt);
        a.map(0, 64);
      },
      answer: "0",
    },
    { name: "GET before SET", ask: (a) => a.read(0, 64), answer: "0" },
    {
      name: "SET one byte short",
      ask: (a) => a.track(true, { size: 15 }),
      answer: "EINVAL",
    },
    {
      name: "SET unknown flag, of no page table",
      ask: (a) => a.track(true, { table: 99, flags: UNKNOWN }),
      answer: "EOPNOTSUPP",
    },
    { name: "SET of no page table", ask: (a) => a.track(true, { table: 99 }), answer: "ENOENT" },
    { name: "SET of an IOAS", ask: (a) => a.track(true, { table: a.ioas }), answer: "ENOENT" },
    {
      name: "SET of a page table that does not track",
      ask: (a) => a.track(true, { table: a.plain }),
      answer: "EOPNOTSUPP",
    },
    { name: "SET", ask: (a) => a.track(true), answer: "0" },
    { name: "SET again", ask: (a) => a.track(true), answer: "0" },
    {
      name: "GET unknown flag, of no page table",
      ask: (a) => a.read(0, 64, { table: 99, flags: UNKNOWN }),
      answer: "EOPNOTSUPP",
    },
    {
      name: "GET, reserved not 0, of no page table",
      ask: (a) => a.read(0, 64, { table: 99, reserved: 1 }),
      answer: "EOPNOTSUPP",
    },
    { name: "GET of no page table", ask: (a) => a.read(0, 64, { table: 99 }), answer: "ENOENT" },
    {
      name: "GET of a page table that does not track, of a range that wraps",
      ask: (a) => a.readAt(TOP - PAGE, 2n * PAGE, { table: a.plain }),
      answer: "EOVERFLOW",
    },
    {
      name: "GET of a page table that does not track",
      ask: (a) => a.read(0, 64, { table: a.plain }),
      answer: "EOPNOTSUPP",
    },
    {
      name: "GET of a range that wraps",
      ask: (a) => a.readAt(TOP - PAGE, 2n * PAGE),
      answer: "EOVERFLOW",
    },
    { name: "GET of 0 bytes", ask: (a) => a.readAt(BASE, 0n), answer: "EINVAL" },
    { name: "GET, iova not aligned", ask: (a) => a.readAt(BASE + 1n, PAGE), answer: "EINVAL" },
    { name: "GET, length not aligned", ask: (a) => a.readAt(BASE, PAGE + 1n), answer: "EINVAL" },
    {
      name: "GET with pages of 0 bytes",
      ask: (a) => a.read(0, 64, { pageSize: 0n }),
      answer: "EINVAL",
    },
    {
      name: "GET with pages that the range is no multiple of",
      ask: (a) => a.read(0, 3, { pageSize: 2n * PAGE }),
      answer: "EINVAL",
    },
    { name: "GET, nothing written", ask: (a) => a.read(0, 64), answer: "0" },
    {
      name: "GET with NO_CLEAR",
      ask: (a) => {
        a.write(0, 2, 8, 63);
        return a.read(0, 64, { flags: NO_CLEAR });
      },
      answer: "0 0 2 8 63",
    },
    { name: "GET", ask: (a) => a.read(0, 64), answer: "0 0 2 8 63" },
    { name: "GET again", ask: (a) => a.read(0, 64), answer: "0" },
    {
      name: "GET into memory of ones",
      ask: (a) => a.read(0, 64, { before: TOP - 1n }),
      answer: "0 all of the first word",
    },
    {
      name: "GET of half of the mapping",
      ask: (a) => {
        a.write(0, 2, 8, 63);
        return a.read(0, 32);
      },
      answer: "0 0 2 8",
    },
    { name: "GET of the other half", ask: (a) => a.read(32, 32), answer: "0 31" },
    {
      name: "GET with pages of two",
      ask: (a) => {
        a.write(0, 2, 3, 63);
        return a.read(0, 64, { pageSize: 2n * PAGE });
      },
      answer: "0 0 1 31",
    },
    {
      name: "GET into no memory",
      ask: (a) => {
        a.write(5);
        a.read(0, 64, { data: 0n });
      },
      answer: "0",
    },
    { name: "GET after that: the page is lost", ask: (a) => a.read(0, 64), answer: "0" },
    {
      name: "GET of a range that ends in a hole",
      ask: (a) => {
        a.write(1);
        return a.read(0, 128);
      },
      answer: "0 1",
    },
    {
      name: "GET of a range that begins in a hole: the page is missing",
      ask: (a) => {
        a.write(1);
        return a.read(-64, 128);
      },
      answer: "0",
    },
    { name: "GET of the mapping after that", ask: (a) => a.read(0, 64), answer: "0 1" },
    {
      name: "GET over a hole: what is behind it is missing",
      ask: (a) => {
        a.map(128, 64);
        a.write(1, 130);
        return a.read(0, 192);
      },
      answer: "0 1",
    },
    { name: "GET of what is behind it", ask: (a) => a.read(128, 64), answer: "0 2" },
    {
      name: "GET over two mappings that touch",
      ask: (a) => {
        a.map(64, 64);
        a.write(63, 64, 127, 128);
        return a.read(0, 192);
      },
      answer: "0 63 64 127 128",
    },
    {
      name: "GET where nothing is mapped",
      ask: (a) => a.read(200, 8),
      answer: "0",
    },
    {
      name: "GET after the mapping was made anew",
      ask: (a) => {
        a.write(130);
        a.unmap(128, 64);
        a.map(128, 64);
        return a.read(128, 64);
      },
      answer: "0",
    },
    {
      name: "GET when tracking was turned off",
      ask: (a) => {
        a.write(130);
        a.track(false);
        return a.read(128, 64);
      },
      answer: "0",
    },
    {
      name: "GET when tracking was turned on again",
      ask: (a) => {
        a.track(true);
        return a.read(128, 64);
      },
      answer: "0",
    },
  ],
};

/** All groups. */
export const HWPT_CASES: readonly CaseGroup<HwptAsker>[] = [TABLES, TRACKING];
