/**
 * What a device's DMA can reach: IOVA ranges and the memory behind them.
 *
 * @module
 */

import type { IovaMapping } from "./iova.ts";

/** Memory made known to an IOMMU; both iova and size are multiples of its page size. */
export interface DmaMapping extends IovaMapping {
  /** Its address in this process: that of a kernel Mapping, never of a JS buffer. */
  readonly vaddr: bigint;
  /** VFIO_DMA_MAP_FLAG_*: what the device may do with it. */
  readonly flags: number;
}

/**
 * An address space that devices are attached to. A type1 container is one
 * ({@linkcode Type1Container}).
 */
export interface AddressSpace {
  /**
   * Makes memory known to the IOMMU. The memory must stay mapped in this
   * process until it is unmapped here, or the address space is closed.
   *
   * @throws {DmaError} EEXIST where it overlaps a mapping, EINVAL where it is
   * not aligned or the IOMMU does not reach that far.
   */
  map(mapping: DmaMapping): void;
  /**
   * Takes back all mappings in a range. A mapping is taken back whole.
   *
   * @returns Bytes taken back; 0 where nothing was mapped.
   * @throws {DmaError} EINVAL where the range cuts a mapping; nothing has changed then.
   */
  unmap(iova: bigint, size: bigint): bigint;
  /** What is known to be mapped, by ascending iova. */
  readonly mappings: readonly IovaMapping[];
}
