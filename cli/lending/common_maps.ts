/**
 * The memory to map for several devices.
 *
 * @module
 */

import type { IovaMapping } from "../../src/vfio/mod.ts";
import { iovaRange } from "../specs/value_parsers.ts";
import { UsageError } from "../usage_error.ts";

/**
 * The ranges to map for each of these devices.
 *
 * @param memory The ranges of each device whose memory is taken.
 * @throws {UsageError} If these are other devices by number, or their ranges differ.
 */
export function commonMaps(
  memory: readonly (readonly IovaMapping[])[],
  names: readonly string[],
): readonly IovaMapping[] {
  if (memory.length !== names.length) {
    throw new UsageError(
      `Cannot take ${memory.length} devices over: ${names.length} were named here`,
    );
  }
  const [first] = memory;
  if (!memory.every((ranges) => areSame(ranges, first!))) {
    throw new UsageError("Cannot take devices over whose memory lies at other IOVAs");
  }
  return first!;
}

/**
 * Refuses the memory of an owner that has not mapped these ranges.
 *
 * @throws {UsageError} If a range is missing, or there is another.
 */
export function demandSame(ranges: readonly IovaMapping[], own: readonly IovaMapping[]): void {
  if (areSame(ranges, own.toSorted((a, b) => a.iova < b.iova ? -1 : 1))) return;
  const all = (some: readonly IovaMapping[]): string =>
    some.map(rangeWords).join(", ") || "nothing";
  throw new UsageError(
    `Cannot take the device over: its memory is ${all(ranges)}, and the owner here has mapped ` +
      all(own),
  );
}

/** A range as `--map` has it. */
export function rangeWords({ iova, size }: IovaMapping): string {
  return iovaRange().format({ iova, size });
}

/** Whether two ranges are the same. */
export function isSame(one: IovaMapping, other: IovaMapping): boolean {
  return one.iova === other.iova && one.size === other.size;
}

function areSame(some: readonly IovaMapping[], others: readonly IovaMapping[]): boolean {
  return some.length === others.length &&
    some.every((range, index) => isSame(range, others[index]!));
}
