/**
 * The check of every {@linkcode Mapping}, whatever is behind it.
 *
 * @module
 */

import type { Mapping } from "./kernel.ts";

/**
 * Demands that an access is inside of a mapping, and that the mapping is open.
 *
 * @param mapping Its length is what counts, in bytes.
 * @param open Whether it has not been closed.
 * @param offset Where in the mapping the access begins, in bytes.
 * @param count The bytes accessed.
 * @throws {RangeError} If it is not.
 */
export function checkRange(
  mapping: Pick<Mapping, "length">,
  open: boolean,
  offset: number,
  count: number,
): void {
  if (!open) throw new RangeError("Cannot reach the mapping: it is closed");
  if (Number.isSafeInteger(offset) && offset >= 0 && offset + count <= mapping.length) return;
  throw new RangeError(
    `Cannot reach bytes ${offset} to ${offset + count} of a mapping of ${mapping.length} bytes`,
  );
}
