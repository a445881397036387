/**
 * Memory that is given as files: `--map IOVA:SIZE@FILE`.
 *
 * @module
 */

import type { OpenOptions } from "../../mod.ts";
import type { IovaMapping } from "../../src/vfio/mod.ts";
import { UsageError } from "../usage_error.ts";
import { isSame, rangeWords } from "./ranges.ts";

/** The ranges to map. */
type Maps = NonNullable<OpenOptions["maps"]>;

function isFile({ file, fd }: Maps[number]): boolean {
  return file !== undefined || fd !== undefined;
}

/**
 * The devices that are to be served if they are simulated: those that a program is lent, and those
 * whose memory is a file, which a simulation in this process does not reach.
 */
export function toServe(
  names: readonly string[],
  { map, command }: { readonly map: Maps; readonly command?: readonly string[] | undefined },
): readonly string[] {
  return command !== undefined || map.some(isFile) ? names : [];
}

/**
 * Refuses memory that several devices would share.
 *
 * @throws {UsageError} If there are several devices.
 */
export function refuseShared(names: readonly string[], map: Maps): void {
  const shared = map.find(isFile);
  if (shared === undefined || names.length < 2) return;
  throw new UsageError(
    `Cannot give ${names.length} devices the same file for ${
      rangeWords(shared)
    }: each has memory of its own`,
  );
}

/**
 * The ranges that a source has, with the memory that was given for them here.
 *
 * @param source What has the ranges: `device to take over`.
 * @throws {UsageError} If memory was given for a range that it does not have.
 */
export function withGiven(ranges: readonly IovaMapping[], map: Maps, source: string): Maps {
  const left = map.find((given) => !ranges.some((range) => isSame(given, range)));
  if (left !== undefined) {
    throw new UsageError(
      `Cannot use the memory that --map gives for ${rangeWords(left)}: the ${source} has ` +
        (ranges.length === 0 ? "no memory" : ranges.map(rangeWords).join(", ")),
    );
  }
  return ranges.map((range) => map.find((given) => isSame(given, range)) ?? range);
}

/**
 * Refuses ranges without a file, where the other side, or a checkpoint, says what to map.
 *
 * @throws {UsageError} If there is one.
 */
export function demandFiles(map: Maps): void {
  const bare = map.find((range) => !isFile(range));
  if (bare === undefined) return;
  throw new UsageError(
    `Expected a file for ${rangeWords(bare)} (--map IOVA:SIZE@FILE): what to map is known already`,
  );
}
