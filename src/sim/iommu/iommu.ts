/**
 * The IOMMU behind a container: hardware, or drivers that pin the pages they use.
 */

import type { ErrnoName } from "../../kernel/errno_names.ts";

/** The properties of a kernel's IOMMU driver. */
export interface IommuDriver {
  /** Whether it supports TYPE1v2. */
  readonly v2: boolean;
  /** How it reports dirty page tracking: by capability, by a draft's flag, or not at all. */
  readonly tracking: "capability" | "draft" | "none";
  /** Bytes that the process may lock; null for no limit. */
  readonly memlock: bigint | null;
  /** The errno of VFIO_SET_IOMMU; null if it succeeds. */
  readonly refusesIommu: ErrnoName | null;
  /** Whether it remaps interrupts. */
  readonly remapsInterrupts: boolean;
}

/** Addresses from `start` to `end`, inclusive. */
export interface MappableRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** An IOMMU as its users see it. */
export interface Iommu {
  /** Page sizes, one bit per size. */
  readonly pgsizes: bigint;
  /** Addresses that can be mapped; null if it does not report them. */
  readonly ranges: readonly MappableRange[] | null;
}

/** No hardware: every size from a page up, at every address. */
export const EMULATED: Iommu = { pgsizes: 0xffff_ffff_ffff_f000n, ranges: null };

/** An Intel IOMMU with 48-bit addresses, except the window of interrupt messages. */
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
