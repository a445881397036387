/**
 * The memory to map for several devices.
 *
 * @module
 */

import type { IovaMapping } from "../../src/vfio/mod.ts";
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
  const same = memory.every((ranges) =>
    ranges.length === first!.length &&
    ranges.every(({ iova, size }, index) =>
      iova === first![index]!.iova && size === first![index]!.size
    )
  );
  if (!same) throw new UsageError("Cannot take devices over whose memory lies at other IOVAs");
  return first!;
}
