/**
 * What a device's DMA can reach: IOVA ranges and the memory behind them.
 *
 * @module
 */

import type { IovaMapping, IovaRange } from "./iova.ts";

/** Memory made known to an IOMMU; both iova and size are multiples of its page size. */
export interface DmaMapping extends IovaMapping {
  /** Its address in this process: that of a kernel Mapping, never of a JS buffer. */
  readonly vaddr: bigint;
  /** VFIO_DMA_MAP_FLAG_READ and _WRITE: what the device may do with it. */
  readonly flags: number;
}

/** What can be mapped. */
export interface AddressSpaceInfo {
  /** Page sizes of the IOMMU, one bit a size; 0 where it does not say. */
  readonly pgsizes: bigint;
  /** What can be mapped; null where it does not say. */
  readonly iovaRanges: readonly IovaRange[] | null;
}

/**
 * An address space that devices are attached to: a type1 container
 * ({@linkcode Type1Container}), or an IOAS of an iommufd ({@linkcode Ioas}).
 */
export interface AddressSpace {
  /**
   * Reads what can be mapped. Read afresh each time: the devices attached to it
   * decide that.
   *
   * @throws {SysError} If the kernel refuses.
   */
  info(): AddressSpaceInfo;
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
   * @throws {DmaError} Where the range cuts a mapping that is known: EINVAL of
   * type1, ENOENT of an IOAS; nothing has changed then.
   */
  unmap(iova: bigint, size: bigint): bigint;
  /** What is known to be mapped, by ascending iova: by this object, or told to it. */
  readonly mappings: readonly IovaMapping[];
  /**
   * Tells of a mapping that somebody else made, such as the owner of a borrowed
   * address space.
   *
   * @throws {RangeError} If it is empty, or overlaps one that is known.
   */
  know(mapping: IovaMapping): void;
  /** Tells that a mapping is gone, though it was not unmapped through this object. */
  forget(iova: bigint): void;
}
