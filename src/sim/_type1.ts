/**
 * The type1 IOMMU of a container that holds mediated devices only: it keeps the
 * list of mappings, and pins nothing.
 */

import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VFIO_IOMMU_UNMAP_DMA,
  vfioBitmap,
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
  vfioIommuType1Info,
  vfioIommuType1InfoCapMigration,
  vfioIommuType1InfoDmaAvail,
} from "../uapi/mod.ts";
import { chain } from "./_capabilities.ts";
import { refuse } from "./_refusal.ts";
import { type Argument, bytesToUser, fromUser, toUser } from "./_user.ts";

const PAGE = 4096n;
/** Every size from a page on, as where no IOMMU stands behind. */
const PAGE_SIZES = 0xffff_ffff_ffff_f000n;
const MAX_MAPPINGS = 65535;
const MAX_BITMAP_BYTES = 1n << 28n;
const TOP = 1n << 64n;

/** How many bytes of the structs the kernel insists on; what is behind came later. */
const INFO_LEAST = vfioIommuType1Info.offsetOf("cap_offset");
const INFO_WITH_CAPS = INFO_LEAST + 4;
const UNMAP_LEAST = vfioIommuType1DmaUnmap.offsetOf("data");

interface Mapping {
  readonly iova: bigint;
  /** The first byte behind it. */
  readonly end: bigint;
}

/** The IOMMU of a container. */
export class Type1 {
  readonly #v2: boolean;
  readonly #dirtyCapability: boolean;
  /** Sorted by iova. */
  #mappings: Mapping[] = [];

  /** An IOMMU without mappings, of TYPE1v2 or of TYPE1. */
  constructor(v2: boolean, dirtyCapability: boolean) {
    this.#v2 = v2;
    this.#dirtyCapability = dirtyCapability;
  }

  /** An ioctl of the container that is the IOMMU's. */
  ioctl(request: number, arg: Argument): number {
    switch (request) {
      case VFIO_IOMMU_GET_INFO:
        return this.#info(arg);
      case VFIO_IOMMU_MAP_DMA:
        return this.#map(arg);
      case VFIO_IOMMU_UNMAP_DMA:
        return this.#unmap(arg);
      default:
        return refuse("ENOTTY");
    }
  }

  #info(arg: Argument): number {
    const { argsz } = fromUser(vfioIommuType1Info, arg, INFO_LEAST);
    if (argsz < INFO_LEAST) refuse("EINVAL");
    const { size } = vfioIommuType1Info;
    const capabilities = [vfioIommuType1InfoDmaAvail.pack({
      header: { id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1, next: 0 },
      avail: MAX_MAPPINGS - this.#mappings.length,
    })];
    if (this.#dirtyCapability) {
      capabilities.unshift(vfioIommuType1InfoCapMigration.pack({
        header: { id: VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, version: 1, next: 0 },
        flags: 0,
        pgsize_bitmap: PAGE,
        max_dirty_bitmap_size: MAX_BITMAP_BYTES,
      }));
    }
    const bytes = chain(capabilities, size);
    const fits = argsz >= size + bytes.length;
    if (fits) bytesToUser(arg, size, bytes);
    toUser(
      vfioIommuType1Info,
      arg,
      {
        argsz: fits ? argsz : size + bytes.length,
        flags: VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
        iova_pgsizes: PAGE_SIZES,
        cap_offset: fits ? size : 0,
      },
      argsz >= INFO_WITH_CAPS ? INFO_WITH_CAPS : INFO_LEAST,
    );
    return 0;
  }

  #map(arg: Argument): number {
    const { argsz, flags, vaddr, iova, size } = fromUser(vfioIommuType1DmaMap, arg);
    const access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    if (argsz < vfioIommuType1DmaMap.size || (flags & ~(access | VFIO_DMA_MAP_FLAG_VADDR)) !== 0) {
      refuse("EINVAL");
    }
    const newAddress = (flags & VFIO_DMA_MAP_FLAG_VADDR) !== 0;
    if (newAddress === ((flags & access) !== 0)) refuse("EINVAL");
    if (size === 0n || (size | iova | vaddr) % PAGE !== 0n) refuse("EINVAL");
    // The last byte may be the last there is.
    if (iova + size > TOP || vaddr + size > TOP) refuse("EINVAL");
    const overlap = this.#overlapping(iova, iova + size);
    // Addresses are never given up here (UNMAP with VADDR is EBUSY): none can be renewed.
    if (newAddress) refuse(overlap === null ? "ENOENT" : "EINVAL");
    if (overlap !== null) refuse("EEXIST");
    if (this.#mappings.length >= MAX_MAPPINGS) refuse("ENOSPC");
    this.#mappings.splice(this.#firstEndingAfter(iova), 0, { iova, end: iova + size });
    return 0;
  }

  #unmap(arg: Argument): number {
    const unmap = fromUser(vfioIommuType1DmaUnmap, arg, UNMAP_LEAST);
    const { argsz, flags, iova, size } = unmap;
    const bitmap = (flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) !== 0;
    const all = (flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0;
    const giveUpAddress = (flags & VFIO_DMA_UNMAP_FLAG_VADDR) !== 0;
    const known = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | VFIO_DMA_UNMAP_FLAG_ALL |
      VFIO_DMA_UNMAP_FLAG_VADDR;
    if (argsz < UNMAP_LEAST || (flags & ~known) !== 0) refuse("EINVAL");
    if (bitmap && (all || giveUpAddress)) refuse("EINVAL");
    if (bitmap) {
      if (argsz < UNMAP_LEAST + vfioBitmap.size) refuse("EINVAL");
      if (typeof arg === "number" || arg.length < UNMAP_LEAST + vfioBitmap.size) refuse("EFAULT");
    }
    if (giveUpAddress) refuse("EBUSY");
    if (iova % PAGE !== 0n) refuse("EINVAL");
    if (all ? iova !== 0n || size !== 0n : size === 0n || size % PAGE !== 0n) refuse("EINVAL");
    const end = all ? TOP : iova + size;
    if (end > TOP) refuse("EINVAL");
    // Dirty pages are not tracked, so there is no bitmap to give.
    if (bitmap) refuse("EINVAL");
    if (this.#v2 && !all) {
      const first = this.#overlapping(iova, iova + 1n);
      const last = this.#overlapping(end - 1n, end);
      if ((first !== null && first.iova !== iova) || (last !== null && last.end !== end)) {
        refuse("EINVAL");
      }
    }
    toUser(
      vfioIommuType1DmaUnmap,
      arg,
      { ...unmap, size: this.#remove(iova, end) },
      UNMAP_LEAST,
    );
    return 0;
  }

  /** Removes what begins in a range; TYPE1 stops at a mapping that began before it. */
  #remove(iova: bigint, end: bigint): bigint {
    const from = this.#firstEndingAfter(iova);
    let until = from;
    let bytes = 0n;
    for (; until < this.#mappings.length; until += 1) {
      const mapping = this.#mappings[until]!;
      if (mapping.iova >= end || mapping.iova < iova) break;
      bytes += mapping.end - mapping.iova;
    }
    this.#mappings.splice(from, until - from);
    // A u64, as all of 2^64 would be 0.
    return BigInt.asUintN(64, bytes);
  }

  #overlapping(iova: bigint, end: bigint): Mapping | null {
    const mapping = this.#mappings[this.#firstEndingAfter(iova)];
    return mapping !== undefined && mapping.iova < end ? mapping : null;
  }

  #firstEndingAfter(iova: bigint): number {
    let low = 0;
    let high = this.#mappings.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#mappings[middle]!.end > iova) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
