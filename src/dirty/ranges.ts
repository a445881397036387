/**
 * Checks ranges, and finds the mappings in a range.
 *
 * @module
 */

import { encloses, formatIova, IOVA_END, type IovaMapping, overlap } from "../vfio/dma/iova.ts";
import { DirtyRangeError } from "./range_error.ts";

/**
 * Checks ranges to map or read: they must be in whole pages, not empty, inside the address space,
 * and must not overlap.
 *
 * @param pgsize Bytes of a page, a power of two.
 * @returns The ranges, by ascending iova.
 * @throws {DirtyRangeError} If a range is wrong; the message says which, and how.
 *
 * @example
 * ```ts
 * import { checkRanges } from "./ranges.ts";
 * import assert from "node:assert/strict";
 *
 * const ranges = [{ iova: 0x8000n, size: 0x1000n }, { iova: 0n, size: 0x8000n }];
 * assert.deepEqual(checkRanges(ranges, 4096), ranges.toReversed());
 * assert.throws(() => checkRanges([{ iova: 0n, size: 100n }], 4096), /not in whole pages/);
 * ```
 */
export function checkRanges<Range extends IovaMapping>(
  ranges: readonly Range[],
  pgsize: number,
): Range[] {
  const page = BigInt(pgsize);
  for (const range of ranges) {
    const fail = (defect: string): never => {
      throw new DirtyRangeError(`Cannot use the range ${describe(range)}: ${defect}`);
    };
    if (range.size <= 0n) fail("it is empty");
    if (range.iova < 0n || range.iova + range.size > IOVA_END) fail("it reaches beyond 2^64");
    if (range.iova % page !== 0n || range.size % page !== 0n) {
      fail(`it is not in whole pages of ${pgsize} bytes`);
    }
  }
  const sorted = [...ranges].sort((a, b) => a.iova < b.iova ? -1 : 1);
  sorted.forEach((range, index) => {
    const next = sorted[index + 1];
    if (next === undefined || !overlap(range, next)) return;
    throw new DirtyRangeError(
      `Cannot use the range ${formatIova(next)}: it overlaps ${formatIova(range)}`,
    );
  });
  return sorted;
}

function describe({ iova, size }: IovaMapping): string {
  const hex = (value: bigint): string => (value < 0n ? String(value) : `0x${value.toString(16)}`);
  return `of ${size} bytes at ${hex(iova)}`;
}

/**
 * Returns the mappings that ranges consist of.
 *
 * @param mappings The mappings, by ascending iova.
 * @returns Mappings, by ascending iova; none for a range without mappings.
 * @throws {DirtyRangeError} As {@linkcode checkRanges}, and if a range would cut a mapping.
 *
 * @example
 * ```ts
 * import { mappingsIn } from "./ranges.ts";
 * import assert from "node:assert/strict";
 *
 * const mappings = [{ iova: 0n, size: 0x4000n }, { iova: 0x8000n, size: 0x1000n }];
 * assert.deepEqual(mappingsIn([{ iova: 0n, size: 0x8000n }], mappings, 4096), [mappings[0]]);
 * assert.throws(
 *   () => mappingsIn([{ iova: 0n, size: 0x1000n }], mappings, 4096),
 *   /the mapping 0x0-0x3fff would be cut/,
 * );
 * ```
 */
export function mappingsIn(
  ranges: readonly IovaMapping[],
  mappings: readonly IovaMapping[],
  pgsize: number,
): IovaMapping[] {
  return checkRanges(ranges, pgsize).flatMap((range) => {
    const inside = mappings.filter((mapping) => overlap(mapping, range));
    const cut = inside.find((mapping) => !encloses(range, mapping));
    if (cut === undefined) return inside;
    throw new DirtyRangeError(
      `Cannot use the range ${formatIova(range)}: the mapping ${formatIova(cut)} would be cut, ` +
        "and a mapping has its dirty pages as a whole",
    );
  });
}
