/**
 * What stands behind a container: IOMMU hardware, or drivers that pin what they
 * use.
 */

import type { ErrnoName } from "../kernel/errno.ts";

/** An IOMMU driver, as a kernel has it. */
export interface IommuDriver {
  /** Whether it has TYPE1v2. */
  readonly v2: boolean;
  /** How it says that dirty pages are tracked; as in a draft of the interface, or not at all. */
  readonly tracking: "capability" | "draft" | "none";
  /** Bytes that the process may lock; null without a limit. */
  readonly memlock: bigint | null;
  /** What VFIO_SET_IOMMU is refused with; null where it is not. */
  readonly refusesIommu: ErrnoName | null;
  /** Whether it remaps interrupts. */
  readonly remapsInterrupts: boolean;
}

/** Bytes from `start` to `end`, which belongs to them. */
export interface IovaRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** An IOMMU as its users see it. */
export interface Iommu {
  /** Page sizes, one bit a size. */
  readonly pgsizes: bigint;
  /** Addresses that can be mapped; null where it does not say. */
  readonly ranges: readonly IovaRange[] | null;
}

/** No hardware: every size from a page on, every address. */
export const EMULATED: Iommu = { pgsizes: 0xffff_ffff_ffff_f000n, ranges: null };

/** An Intel IOMMU of 48 bits, which leaves out the window of interrupt messages. */
export const HARDWARE: Iommu = {
  pgsizes: 0x4020_1000n,
  ranges: [
    { start: 0n, end: 0xfedf_ffffn },
    { start: 0xfef0_0000n, end: 0xffff_ffff_ffffn },
  ],
};

/** Whether an IOMMU can map a range. */
export function reaches({ ranges }: Iommu, iova: bigint, end: bigint): boolean {
  return ranges === null || ranges.some((range) => range.start <= iova && end <= range.end + 1n);
}
