/**
 * Ranges that cannot be mapped, tracked, read or unmapped as they are asked for.
 *
 * @module
 */

/** A range that is a mistake of the caller; the kernel was not asked. */
export class DirtyRangeError extends RangeError {
  /** Always `DirtyRangeError`. */
  override readonly name = "DirtyRangeError";
}
