/**
 * The type1 IOMMU of a container: VFIO_IOMMU_MAP_DMA and VFIO_IOMMU_UNMAP_DMA, and
 * the way to the other parts: type1_info.ts (VFIO_IOMMU_GET_INFO), type1_tracking.ts
 * (VFIO_IOMMU_DIRTY_PAGES), iommu_members.ts (the groups and their DMA).
 */

import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  type VfioBitmap,
  vfioBitmap,
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
} from "../../uapi/mod.ts";
import { bitmapFromUser, Type1Tracking } from "./type1_tracking.ts";
import { Dma, DMA_PAGE, DmaList } from "./dma_list.ts";
import { EMULATED, HARDWARE, type Iommu, type IommuDriver, reaches } from "./iommu.ts";
import { IommuMembers } from "./iommu_members.ts";
import type { IommuMember } from "./iommu_member.ts";
import { refuse } from "../os/refusal.ts";
import { answerInfo } from "./type1_info.ts";
import { type Argument, fromUser, toUser } from "../os/user.ts";
import type { UserMemory } from "../os/user_memory.ts";

const MAX_MAPPINGS = 65535;
const TOP = 1n << 64n;
const UNMAP_LEAST: number = vfioIommuType1DmaUnmap.offsetOf("data");

/** The IOMMU of a container. */
export class Type1 {
  readonly #v2: boolean;
  readonly #driver: IommuDriver;
  readonly #user: UserMemory;
  readonly #list: DmaList = new DmaList();
  readonly #tracking: Type1Tracking;
  readonly #members: IommuMembers;

  /** An IOMMU without mappings, of type TYPE1v2 or TYPE1. */
  constructor(v2: boolean, driver: IommuDriver, user: UserMemory) {
    this.#v2 = v2;
    this.#driver = driver;
    this.#user = user;
    this.#tracking = new Type1Tracking(this.#list, user, () => this.#members.allDirty);
    this.#members = new IommuMembers(
      this.#list,
      user,
      "EINVAL",
      (bytes) => this.#checkLocked(bytes),
    );
  }

  get #iommu(): Iommu {
    return this.#members.hardware ? HARDWARE : EMULATED;
  }

  /** Adds a group. For the first one with hardware, all memory is pinned. */
  attach(member: IommuMember): void {
    if (member.hardware && !this.#members.hardware) this.#pinForHardware();
    this.#members.add(member);
  }

  /** Pins every mapping. Pages that drivers hold pinned count as locked already. */
  #pinForHardware(): void {
    for (const { iova, end } of this.#list) if (!reaches(HARDWARE, iova, end)) refuse("EINVAL");
    let locked = this.#list.locked(false);
    for (const dma of this.#list) {
      locked += dma.size - BigInt(dma.pins.size) * DMA_PAGE;
      if (!this.#user.has(dma.vaddr, dma.size)) refuse("EFAULT");
      this.#checkLocked(locked);
    }
  }

  /** Removes a group. */
  detach(member: IommuMember): void {
    if (this.#members.remove(member)) this.#tracking.markAll();
  }

  /** A container's ioctl that the IOMMU handles. */
  ioctl(request: number, arg: Argument): number {
    this.#members.elapse();
    switch (request) {
      case VFIO_IOMMU_GET_INFO:
        return answerInfo(
          arg,
          this.#iommu,
          this.#driver.tracking,
          MAX_MAPPINGS - this.#list.length,
        );
      case VFIO_IOMMU_MAP_DMA:
        return this.#map(arg);
      case VFIO_IOMMU_UNMAP_DMA:
        return this.#unmap(arg);
      case VFIO_IOMMU_DIRTY_PAGES:
        if (this.#driver.tracking === "none") refuse("ENOTTY");
        if (!this.#v2) refuse("EACCES");
        return this.#tracking.ioctl(arg, (event) => this.#members.strike(event));
      default:
        return refuse("ENOTTY");
    }
  }

  #map(arg: Argument): number {
    const { argsz, flags, vaddr, iova, size } = fromUser(vfioIommuType1DmaMap, arg);
    const access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    if (argsz < vfioIommuType1DmaMap.size || (flags & ~(access | VFIO_DMA_MAP_FLAG_VADDR)) !== 0) {
      refuse("EINVAL");
    }
    const newAddress = (flags & VFIO_DMA_MAP_FLAG_VADDR) !== 0;
    if (newAddress === ((flags & access) !== 0)) refuse("EINVAL");
    if (size === 0n || (size | iova | vaddr) % DMA_PAGE !== 0n) refuse("EINVAL");
    // A mapping may end at the last byte of the address space.
    if (iova + size > TOP || vaddr + size > TOP) refuse("EINVAL");
    const overlap = this.#list.overlapping(iova, iova + size);
    // UNMAP with VADDR fails with EBUSY, so there is never a mapping that needs a new address.
    if (newAddress) refuse(overlap === null ? "ENOENT" : "EINVAL");
    if (overlap !== null) refuse("EEXIST");
    if (this.#list.length >= MAX_MAPPINGS) refuse("ENOSPC");
    this.#members.strike("map");
    const dma = new Dma(iova, size, vaddr, flags & access);
    if (this.#members.hardware) this.#mapInHardware(dma, this.#iommu);
    this.#tracking.add(dma);
    this.#list.insert(dma);
    return 0;
  }

  /** Hardware accesses memory by physical addresses, so the whole mapping is pinned. */
  #mapInHardware(dma: Dma, iommu: Iommu): void {
    if (!reaches(iommu, dma.iova, dma.end)) refuse("EINVAL");
    if (!this.#user.has(dma.vaddr, dma.size)) refuse("EFAULT");
    this.#checkLocked(this.#list.locked(true) + dma.size);
  }

  /** Fails with ENOMEM if so many bytes exceed the limit of locked memory. */
  #checkLocked(bytes: bigint): void {
    const { memlock } = this.#driver;
    if (memlock !== null && bytes > memlock) refuse("ENOMEM");
  }

  #unmap(arg: Argument): number {
    const unmap = fromUser(vfioIommuType1DmaUnmap, arg, UNMAP_LEAST);
    const { argsz, flags, iova, size } = unmap;
    const withBitmap = (flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) !== 0;
    const all = (flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0;
    const giveUpAddress = (flags & VFIO_DMA_UNMAP_FLAG_VADDR) !== 0;
    const known = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | VFIO_DMA_UNMAP_FLAG_ALL |
      VFIO_DMA_UNMAP_FLAG_VADDR;
    if (argsz < UNMAP_LEAST || (flags & ~known) !== 0) refuse("EINVAL");
    if (withBitmap && (all || giveUpAddress)) refuse("EINVAL");
    if (withBitmap && argsz < UNMAP_LEAST + vfioBitmap.size) refuse("EINVAL");
    const bitmap = withBitmap ? bitmapFromUser(arg, UNMAP_LEAST, size) : null;
    if (giveUpAddress) refuse("EBUSY");
    if (iova % DMA_PAGE !== 0n) refuse("EINVAL");
    if (all ? iova !== 0n || size !== 0n : size === 0n || size % DMA_PAGE !== 0n) refuse("EINVAL");
    const end = all ? TOP : iova + size;
    if (end > TOP) refuse("EINVAL");
    if (bitmap !== null && (!this.#tracking.on || bitmap.pgsize !== DMA_PAGE)) refuse("EINVAL");
    if (this.#v2 && !all) this.#list.refuseToCut(iova, end);
    toUser(
      vfioIommuType1DmaUnmap,
      arg,
      { ...unmap, size: this.#remove(iova, end, all, bitmap) },
      UNMAP_LEAST,
    );
    return 0;
  }

  /**
   * Removes the mappings of a range one by one; returns the bytes unmapped. TYPE1
   * stops at a mapping that begins before the range. If one fails, the mappings
   * before it are already gone.
   */
  #remove(iova: bigint, end: bigint, all: boolean, bitmap: VfioBitmap | null): bigint {
    let bytes = 0n;
    for (const dma of [...this.#list.in(iova, end)]) {
      // The end is a u64 in the kernel: before 6.19, a range up to 2^64 ends at 0 and is empty.
      if (dma.iova < iova || (end === TOP && !all)) break;
      this.#members.strike("unmap");
      if (bitmap !== null) this.#tracking.report(dma, iova, bitmap);
      this.#list.remove(dma);
      this.#members.unmapped(dma);
      bytes += dma.size;
    }
    // The size is a u64, so all 2^64 bytes count as 0.
    return BigInt.asUintN(64, bytes);
  }
}
