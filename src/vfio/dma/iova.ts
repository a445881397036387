/**
 * Ranges of IOVAs: comparing and printing them.
 *
 * @module
 */

/** The end of the IOVA space: the address after the last IOVA. */
export const IOVA_END: bigint = 1n << 64n;

/** A mapping of an address space. */
export interface IovaMapping {
  /** The first address, in bytes. */
  readonly iova: bigint;
  /** Size in bytes. */
  readonly size: bigint;
}

/** IOVAs that an IOMMU can map. */
export interface IovaRange {
  /** The first byte. */
  readonly start: bigint;
  /** The last byte (inclusive). */
  readonly end: bigint;
}

/** Prints a range with its last address: `0x10000-0x11fff`. */
export function formatIova({ iova, size }: IovaMapping): string {
  const last = iova + (size > 0n ? size - 1n : 0n);
  return `0x${iova.toString(16)}-0x${last.toString(16)}`;
}

/** Whether two ranges have a byte in common. */
export function overlap(one: IovaMapping, other: IovaMapping): boolean {
  return one.iova < other.iova + other.size && other.iova < one.iova + one.size;
}

/** What two ranges that overlap have in common. */
export function intersection(one: IovaMapping, other: IovaMapping): IovaMapping {
  const iova = one.iova > other.iova ? one.iova : other.iova;
  const [oneEnd, otherEnd] = [one.iova + one.size, other.iova + other.size];
  return { iova, size: (oneEnd < otherEnd ? oneEnd : otherEnd) - iova };
}

/** Whether the outer range contains all of the inner one. */
export function encloses(outer: IovaMapping, inner: IovaMapping): boolean {
  return outer.iova <= inner.iova && inner.iova + inner.size <= outer.iova + outer.size;
}
