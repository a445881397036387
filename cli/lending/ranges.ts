/**
 * Ranges of devices' memory: of those that are taken over, and of those that are here.
 *
 * @module
 */

import type { IovaMapping } from "../../src/vfio/mod.ts";
import { iovaRange } from "../specs/value_parsers.ts";
import { count } from "../output/format.ts";
import { UsageError } from "../usage_error.ts";

/**
 * Refuses another number of devices than is taken over.
 *
 * @throws {UsageError} If there are more or fewer here.
 */
export function demandAsMany(taken: number, names: readonly string[]): void {
  if (taken === names.length) return;
  const named = names.length === 1 ? "1 was named" : `${names.length} were named`;
  throw new UsageError(`Cannot take ${count(taken, "device")} over: ${named} here`);
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
