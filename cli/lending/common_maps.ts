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
  const { format } = iovaRange();
  const words = (all: readonly IovaMapping[]): string => all.map(format).join(", ") || "nothing";
  throw new UsageError(
    `Cannot take the device over: its memory is ${words(ranges)}, and the owner here has mapped ` +
      words(own),
  );
}

function areSame(some: readonly IovaMapping[], others: readonly IovaMapping[]): boolean {
  return some.length === others.length &&
    some.every(({ iova, size }, index) =>
      iova === others[index]!.iova && size === others[index]!.size
    );
}
