/**
 * Ranges of IOVAs, in words.
 *
 * @module
 */

/** The first byte behind the last IOVA there is. */
export const IOVA_END: bigint = 1n << 64n;

/** A mapping, as its address space knows it. */
export interface IovaMapping {
  /** The first address, in bytes. */
  readonly iova: bigint;
  /** Bytes. */
  readonly size: bigint;
}

/** IOVAs that an IOMMU can map. */
export interface IovaRange {
  /** The first byte. */
  readonly start: bigint;
  /** The last byte: inclusive. */
  readonly end: bigint;
}

/** A range with its last address: `0x10000-0x11fff`. */
export function formatIova({ iova, size }: IovaMapping): string {
  const last = iova + (size > 0n ? size - 1n : 0n);
  return `0x${iova.toString(16)}-0x${last.toString(16)}`;
}

/** Whether two ranges have a byte in common. */
export function overlap(one: IovaMapping, other: IovaMapping): boolean {
  return one.iova < other.iova + other.size && other.iova < one.iova + one.size;
}

/** Whether a range has all of another in it. */
export function encloses(outer: IovaMapping, inner: IovaMapping): boolean {
  return outer.iova <= inner.iova && inner.iova + inner.size <= outer.iova + outer.size;
}
