/**
 * The pages that a process wrote to, by write-protection: PAGEMAP_SCAN says which of them are no
 * longer protected, and protects them again.
 *
 * @module
 */

import {
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  O_RDONLY,
  PROT_READ,
  PROT_WRITE,
} from "../../kernel/kernel.ts";
import { isErrno } from "../../kernel/sys_error.ts";
import {
  PAGE_IS_PRESENT,
  PAGE_IS_SWAPPED,
  PAGE_IS_WPALLOWED,
  PAGE_IS_WRITTEN,
  PAGEMAP_SCAN,
  type PageRegion,
  pageRegion,
  PM_SCAN_CHECK_WPASYNC,
  PM_SCAN_WP_MATCHING,
  pmScanArg,
} from "../../uapi/mod.ts";
import { AnswerError } from "../../vfio/device/answer_error.ts";
import { formatIova, intersection, type IovaMapping, overlap } from "../../vfio/dma/iova.ts";
import { UnsupportedError } from "../../vfio/reasons/unsupported_error.ts";
import { WriteProtectionError } from "./write_protection_error.ts";

/** Memory of a device that a process has mapped. */
export interface ProtectedRange extends IovaMapping {
  /** Where in that process, in bytes. */
  readonly address: bigint;
}

/** Memory that a process has mapped, and write-protects to find what it writes there. */
export interface ProtectedMemory {
  /** An fd of that process's /proc/PID/pagemap. */
  readonly pagemap: number;
  /** All mappings through which it writes; the same memory may be in several. */
  readonly ranges: readonly ProtectedRange[];
}

/** The smallest page of any system that this runs on, in bytes. */
const PAGE = 4096n;
/**
 * How many regions there is room for in one call. Linux collects so many at a time; with room for
 * more, it may answer a walk_end before the last of them, and answer these again.
 */
const REGIONS = 512;
/** A call ends at a multiple of this, so that the process is not kept from mapping memory for long. */
const STEP = 1n << 30n;

/**
 * A page matches if it is not protected, or is not in memory. Linux may drop a page of a file that
 * was written to from the process's page tables, and the missing protection with it.
 */
const WRITTEN: Query = {
  flags: PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
  inverted: PAGE_IS_PRESENT,
  anyOf: PAGE_IS_WRITTEN | PAGE_IS_PRESENT,
  answered: PAGE_IS_WRITTEN | PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
};

/** A page matches if it can be protected. */
const PROTECTABLE: Query = {
  flags: 0,
  inverted: 0,
  anyOf: PAGE_IS_WPALLOWED,
  answered: PAGE_IS_WPALLOWED,
};

/** Which pages to find. */
interface Query {
  /** `PM_SCAN_*`. */
  readonly flags: number;
  /** Categories (`PAGE_IS_*`) that match where the page is not in them. */
  readonly inverted: number;
  /** Categories of which one must match. */
  readonly anyOf: number;
  /** Categories that are answered. */
  readonly answered: number;
}

/**
 * The pages that were written to since this was last asked, and now are protected again: read their
 * bytes after this, and a write that comes later is found by the next call. The first call after the
 * memory was registered answers all pages; a copy has to begin with all of them by itself. It may
 * answer pages that were not written to, never too few.
 *
 * @throws {WriteProtectionError} If a range is not protected, or not mapped any more.
 */
export function takeWritten(kernel: Kernel, { pagemap, ranges }: ProtectedMemory): IovaMapping[] {
  using vec = allocateRegions(kernel);
  const written = ranges.flatMap((range) => {
    const found: IovaMapping[] = [];
    for (const { start, end, categories } of regions(kernel, pagemap, { range, vec }, WRITTEN)) {
      const kept = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
      // Protected, and not there yet or in swap: a mark in the page table says so.
      if ((Number(categories) & (kept | PAGE_IS_WRITTEN)) === PAGE_IS_SWAPPED) continue;
      const iova = range.iova + start - range.address;
      found.push({ iova, size: end - start });
    }
    return found;
  });
  // What was unmapped had been written to before, maybe.
  for (const range of ranges) demandProtected(kernel, pagemap, { range, vec });
  return written;
}

/**
 * Refuses memory in which writes would not be found; nothing is changed.
 *
 * @param wanted The device's memory, which the ranges must cover.
 * @throws {WriteProtectionError} If they do not, or one of them is not protected.
 * @throws {UnsupportedError} If the kernel has no PAGEMAP_SCAN.
 */
export function demandWriteProtection(
  kernel: Kernel,
  { pagemap, ranges }: ProtectedMemory,
  wanted: readonly IovaMapping[],
): void {
  demandPagemapScan(kernel);
  for (const range of ranges) {
    const known = wanted.filter((each) => overlap(each, range))
      .reduce((sum, each) => sum + intersection(each, range).size, 0n);
    if (range.size <= 0n || known !== range.size) {
      throw notProtected(range, "not all of it is the device's memory");
    }
    if (range.address % PAGE !== 0n || range.size % PAGE !== 0n) {
      throw notProtected(range, "that is not in whole pages");
    }
  }
  for (const { iova, size } of wanted) {
    let covered = iova;
    for (;;) {
      const next = ranges.find((each) => each.iova <= covered && covered < each.iova + each.size);
      if (next === undefined) break;
      covered = next.iova + next.size;
    }
    if (covered >= iova + size) continue;
    const missing = { iova: covered, size: iova + size - covered };
    throw new WriteProtectionError(
      `Cannot find what is written to ${formatIova(missing)}: it is not known where that is mapped`,
      "Name the address of each range of the device's memory",
    );
  }
  using vec = allocateRegions(kernel);
  for (const range of ranges) demandProtected(kernel, pagemap, { range, vec });
}

/**
 * Refuses a kernel that cannot find writes by write-protection: it has no PAGEMAP_SCAN.
 *
 * @throws {UnsupportedError} If it is older than Linux 6.7, or this process has no pagemap.
 *
 * @example
 * ```ts
 * import { demandPagemapScan } from "vfiokit/dirty";
 * import { libcKernel } from "vfiokit/kernel";
 * import { UnsupportedError } from "vfiokit";
 *
 * try {
 *   demandPagemapScan(libcKernel());
 *   console.log('ownerWrites: "protect" can be used here');
 * } catch (error) {
 *   if (!(error instanceof UnsupportedError)) throw error;
 *   console.log(error.hint?.text); // Run Linux 6.7 or later, …
 * }
 * ```
 */
export function demandPagemapScan(kernel: Kernel): void {
  let pagemap: number | undefined;
  try {
    pagemap = kernel.open("/proc/self/pagemap", O_RDONLY);
    kernel.ioctl(pagemap, PAGEMAP_SCAN, pmScanArg.pack({ size: BigInt(pmScanArg.size) }));
  } catch (error) {
    if (!isErrno(error, "ENOTTY", "ENOENT", "EACCES", "EPERM")) throw error;
    throw new UnsupportedError([{
      code: "unsupported",
      message: "The kernel cannot find writes by write-protection (PAGEMAP_SCAN)",
      hint: "Run Linux 6.7 or later, compare memory, or have the owner report what it writes",
      blocks: true,
    }], { cause: error });
  } finally {
    if (pagemap !== undefined) kernel.close(pagemap);
  }
}

/** What a scan is about. */
interface Scanned {
  readonly range: ProtectedRange;
  /** Memory that the kernel answers in. */
  readonly vec: Mapping;
}

function allocateRegions(kernel: Kernel): Mapping {
  return kernel.mmap(REGIONS * pageRegion.size, {
    prot: PROT_READ | PROT_WRITE,
    flags: MAP_PRIVATE | MAP_ANONYMOUS,
  });
}

function demandProtected(kernel: Kernel, pagemap: number, scanned: Scanned): void {
  const { range } = scanned;
  let next = range.address;
  for (const { start, end } of regions(kernel, pagemap, scanned, PROTECTABLE)) {
    if (start !== next) break;
    next = end;
  }
  if (next === range.address + range.size) return;
  throw notProtected(range, `it is not mapped, or not protected, at 0x${next.toString(16)}`);
}

/** The regions of pages that match, in their order. */
function* regions(
  kernel: Kernel,
  pagemap: number,
  { range, vec }: Scanned,
  query: Query,
): Generator<PageRegion> {
  const last = range.address + range.size;
  const bytes = new Uint8Array(new ArrayBuffer(REGIONS * pageRegion.size));
  for (let start = range.address; start < last;) {
    const step = (start / STEP + 1n) * STEP;
    const end = step < last ? step : last;
    const arg = pmScanArg.pack({
      size: BigInt(pmScanArg.size),
      ...{ flags: BigInt(query.flags), start, end },
      ...{ vec: vec.address, vec_len: BigInt(REGIONS) },
      category_inverted: BigInt(query.inverted),
      category_anyof_mask: BigInt(query.anyOf),
      return_mask: BigInt(query.answered),
    });
    const count = scan(kernel, pagemap, arg, range);
    const { walk_end } = pmScanArg.unpack(arg);
    if (walk_end === start) {
      throw notProtected(range, `0x${start.toString(16)} is inside a huge page`);
    }
    demandInside({ start, end: walk_end }, { start, end });
    if (count > REGIONS) throw wrongAnswer(`${count} regions, where there is room for ${REGIONS}`);
    vec.read(0, bytes.subarray(0, count * pageRegion.size));
    let before = start;
    for (let index = 0; index < count; index++) {
      const region = pageRegion.unpack(bytes, index * pageRegion.size);
      demandInside(region, { start: before, end });
      before = region.end;
      yield region;
    }
    start = walk_end;
  }
}

/** One call; returns the number of regions. */
function scan(
  kernel: Kernel,
  pagemap: number,
  arg: Uint8Array<ArrayBuffer>,
  range: ProtectedRange,
): number {
  try {
    // Pages that a failed call protected again would not be found by another.
    return kernel.ioctl(pagemap, PAGEMAP_SCAN, arg, "once");
  } catch (error) {
    // The request itself is right.
    if (isErrno(error, "ENOTTY", "EINVAL", "EBADF")) {
      throw notProtected(range, `fd ${pagemap} is no pagemap`, error);
    }
    if (isErrno(error, "EPERM")) throw notProtected(range, "it is not registered", error);
    if (isErrno(error, "EFAULT")) throw notProtected(range, "there is no such address", error);
    throw error;
  }
}

function notProtected(range: ProtectedRange, why: string, cause?: unknown): WriteProtectionError {
  const where = `0x${range.address.toString(16)}`;
  return new WriteProtectionError(
    `Cannot find what is written to ${formatIova(range)}, mapped at ${where}: ${why}`,
    "Register all of it, in whole pages, with a userfaultfd for write-protection " +
      "(UFFD_FEATURE_WP_ASYNC), and keep it mapped",
    { cause },
  );
}

/** A region lies inside another; both are in whole pages. */
function demandInside(region: Bounds, outer: Bounds): void {
  const { start, end } = region;
  if (outer.start <= start && start < end && end <= outer.end) return;
  const words = [region, outer].map((each) =>
    `0x${each.start.toString(16)}-0x${each.end.toString(16)}`
  );
  throw wrongAnswer(`${words[0]}, which is not inside ${words[1]}`);
}

/** Addresses from the first to the one behind the last. */
interface Bounds {
  readonly start: bigint;
  readonly end: bigint;
}

function wrongAnswer(what: string): AnswerError {
  return new AnswerError(`Cannot use what PAGEMAP_SCAN answers: ${what}`, "page_region");
}
