/**
 * The ranges that a device is asked to log.
 */

import { IOVA_END, type IovaMapping } from "../../vfio/dma/iova.ts";

/**
 * The most ranges that the kernel accepts: a page of struct vfio_device_feature_dma_logging_range.
 */
export const LOG_RANGES_MAX = 256;

/** Extends a range at both ends to whole units. */
export function alignOut({ iova, size }: IovaMapping, unit: bigint): IovaMapping {
  const start = iova - iova % unit;
  const end = (iova + size + unit - 1n) / unit * unit;
  return { iova: start, size: end - start };
}

/** Whether a range ends at the end of the address space: the kernel refuses such a range. */
export function reachesEnd({ iova, size }: IovaMapping): boolean {
  return iova + size >= IOVA_END;
}

/**
 * Returns the fewest ranges of whole units that contain all of these mappings, except those that
 * reach the end. If there are more than `most`, those with the smallest gaps between them are
 * merged.
 *
 * @param mappings By ascending iova, without overlaps.
 */
export function rangesToLog(
  mappings: readonly IovaMapping[],
  unit: bigint,
  most: number = LOG_RANGES_MAX,
): IovaMapping[] {
  const ranges = mappings.map((mapping) => alignOut(mapping, unit))
    .filter((range) => !reachesEnd(range));
  const gaps = ranges.slice(1).map(({ iova }, index) => iova - end(ranges[index]!));
  const apart = gaps.flatMap((gap, index) => gap > 0n ? [index] : [])
    .sort((a, b) => gaps[a]! > gaps[b]! ? -1 : 1);
  const cuts = apart.slice(0, most - 1).sort((a, b) => a - b);
  const joined: IovaMapping[] = [];
  let first = 0;
  for (const last of ranges.length === 0 ? [] : [...cuts, ranges.length - 1]) {
    const { iova } = ranges[first]!;
    joined.push({ iova, size: end(ranges[last]!) - iova });
    first = last + 1;
  }
  return joined;
}

function end({ iova, size }: IovaMapping): bigint {
  return iova + size;
}
