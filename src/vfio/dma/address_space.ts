/**
 * The address space of a device's DMA: IOVA ranges and the memory behind them.
 *
 * @module
 */

import type { IovaMapping, IovaRange } from "./iova.ts";

/** Memory to map for DMA; iova and size are multiples of the IOMMU's page size. */
export interface DmaMapping extends IovaMapping {
  /** Its address in this process: the address of a kernel Mapping, never of a JS buffer. */
  readonly vaddr: bigint;
  /** VFIO_DMA_MAP_FLAG_READ and _WRITE: the access that the device gets. */
  readonly flags: number;
}

/** What an address space can map. */
export interface AddressSpaceInfo {
  /** Page sizes of the IOMMU, one bit per size; 0 if the kernel does not report them. */
  readonly pgsizes: bigint;
  /** The IOVA ranges that can be mapped; null if the kernel does not report them. */
  readonly iovaRanges: readonly IovaRange[] | null;
}

/**
 * An address space that devices are attached to: a type1 container
 * ({@linkcode Type1Container}), or an IOAS of an iommufd ({@linkcode Ioas}).
 */
export interface AddressSpace {
  /**
   * Reads what can be mapped. Every call asks the kernel again, because the answer depends on the
   * devices that are attached.
   *
   * @throws {SysError} If the kernel refuses.
   */
  info(): AddressSpaceInfo;
  /**
   * Maps memory for DMA. The memory must stay mapped in this process until it is unmapped here, or
   * the address space is closed.
   *
   * @throws {DmaError} EEXIST if it overlaps a mapping; EINVAL if it is not aligned, or outside
   * what the IOMMU can map.
   */
  map(mapping: DmaMapping): void;
  /**
   * Unmaps all mappings in a range. A mapping is only unmapped as a whole.
   *
   * @returns The number of bytes unmapped; 0 if nothing was mapped.
   * @throws {DmaError} If the range cuts a known mapping: EINVAL from type1, ENOENT from an IOAS.
   * Nothing has changed then.
   */
  unmap(iova: bigint, size: bigint): bigint;
  /** The known mappings, by ascending iova: made through this object, or added by `know`. */
  readonly mappings: readonly IovaMapping[];
  /**
   * Adds a mapping that other code made, such as the owner of a borrowed address space.
   *
   * @throws {RangeError} If it is empty, or overlaps a known mapping.
   */
  know(mapping: IovaMapping): void;
  /** Removes a known mapping that was unmapped elsewhere; the kernel is not called. */
  forget(iova: bigint): void;
}
