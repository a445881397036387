/** Parts of a bitmap's range. */

import type { BitmapRange } from "./bitmap_range.ts";

type Part = Pick<BitmapRange, "iova" | "size">;

/**
 * The number of the page that a part starts with.
 *
 * @throws {RangeError} If the part is not whole pages of the range.
 */
export function pageIn(range: BitmapRange, part: Part): number {
  const page = BigInt(range.pgsize);
  const offset = part.iova - range.iova;
  if (offset < 0n || part.size < 0n || offset + part.size > range.size) {
    throw new RangeError(
      `Cannot use ${part.size} bytes at IOVA 0x${part.iova.toString(16)}: they do not lie in ` +
        describeRange(range),
    );
  }
  if (offset % page !== 0n || part.size % page !== 0n) {
    throw new RangeError(
      `Cannot use ${part.size} bytes at IOVA 0x${part.iova.toString(16)}: they are not whole ` +
        `pages of ${range.pgsize} bytes`,
    );
  }
  return Number(offset / page);
}

/** A range, for messages. */
export function describeRange({ iova, size, pgsize }: BitmapRange): string {
  return `${size} bytes at IOVA 0x${iova.toString(16)} in pages of ${pgsize}`;
}
