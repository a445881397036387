/**
 * What a dirty bitmap is about: a range of IOVAs, cut into pages.
 *
 * @module
 */

/** The most pages of one bitmap: 2^31, which take 256 MiB (DIRTY_BITMAP_SIZE_MAX). */
export const BITMAP_PAGES_MAX = 0x8000_0000;

const IOVA_END = 1n << 64n;

/** A range of IOVAs in pages, by the names of struct vfio_iommu_type1_dirty_bitmap_get. */
export interface BitmapRange {
  /** The first address, a multiple of `pgsize`. */
  readonly iova: bigint;
  /** Bytes, a multiple of `pgsize`. The range may end at 2^64. */
  readonly size: bigint;
  /** Bytes of a page, a power of two. */
  readonly pgsize: number;
}

/**
 * The size of a bitmap as the kernel wants it: one bit a page, in whole words
 * of 64 bits.
 *
 * @param pages Pages of the range.
 * @returns Bytes, a multiple of 8.
 *
 * @example
 * ```ts
 * import { bitmapBytes } from "./bitmap_range.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(bitmapBytes(64), 8);
 * assert.equal(bitmapBytes(65), 16);
 * ```
 */
export function bitmapBytes(pages: number): number {
  return Math.ceil(pages / 64) * 8;
}

/**
 * Checks a range, and counts its pages.
 *
 * @returns How many pages it has; 0 for a range of no bytes.
 * @throws {RangeError} If the page size is no power of two, the range is not in
 *   whole pages, does not lie within 2^64, or has more than
 *   {@linkcode BITMAP_PAGES_MAX} pages.
 *
 * @example
 * ```ts
 * import { pagesOf } from "./bitmap_range.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(pagesOf({ iova: 0x10000n, size: 1n << 20n, pgsize: 4096 }), 256);
 * assert.throws(() => pagesOf({ iova: 0x10800n, size: 4096n, pgsize: 4096 }), RangeError);
 * ```
 */
export function pagesOf({ iova, size, pgsize }: BitmapRange): number {
  const what = `Cannot make a bitmap of ${size} bytes at IOVA 0x${iova.toString(16)}`;
  const page = pageSize(pgsize);
  if (iova % page !== 0n || size % page !== 0n) {
    throw new RangeError(`${what}: it is not in whole pages of ${pgsize} bytes`);
  }
  if (iova < 0n || size < 0n || iova + size > IOVA_END) {
    throw new RangeError(`${what}: it does not lie between 0 and 2^64`);
  }
  const pages = size / page;
  if (pages > BigInt(BITMAP_PAGES_MAX)) {
    throw new RangeError(`${what}: it has ${pages} pages, more than ${BITMAP_PAGES_MAX}`);
  }
  return Number(pages);
}

function pageSize(pgsize: number): bigint {
  const page = Number.isSafeInteger(pgsize) && pgsize > 0 ? BigInt(pgsize) : 0n;
  if (page === 0n || (page & (page - 1n)) !== 0n) {
    throw new RangeError(`Cannot use page size ${pgsize}: it is no power of two`);
  }
  return page;
}
