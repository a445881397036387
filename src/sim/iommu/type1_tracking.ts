/**
 * The dirty page tracking of a container's type1 IOMMU: VFIO_IOMMU_DIRTY_PAGES.
 *
 * The tracking covers all mappings of a container, and keeps one bitmap per mapping
 * (mapping_bitmap.ts). A v2 device's own DMA log (../dma/dma_log.ts) is separate: the
 * device logs its own writes there.
 */

import {
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  type VfioBitmap,
  vfioBitmap,
  vfioIommuType1DirtyBitmap,
  vfioIommuType1DirtyBitmapGet,
} from "../../uapi/mod.ts";
import { type Dma, DMA_PAGE, type DmaList } from "./dma_list.ts";
import { MappingBitmap } from "./mapping_bitmap.ts";
import { refuse } from "../os/refusal.ts";
import { type Argument, fromUser, structFromUser } from "../os/user.ts";
import { isUserRange, type UserMemory } from "../os/user_memory.ts";

/** DIRTY_BITMAP_SIZE_MAX: bytes of the largest bitmap that one call takes. */
export const MAX_BITMAP_BYTES: bigint = 1n << 28n;

const HEADER: number = vfioIommuType1DirtyBitmap.size;

/**
 * Reads the struct vfio_bitmap at an offset of an argument, and checks it
 * against the size of the range that it is for. Its page size is checked later,
 * under the lock.
 */
export function bitmapFromUser(arg: Argument, at: number, size: bigint): VfioBitmap {
  const bitmap = structFromUser(vfioBitmap, arg, at);
  checkBitmap(bitmap, size);
  return bitmap;
}

function checkBitmap(bitmap: VfioBitmap, size: bigint): void {
  if (!isUserRange(bitmap.data, bitmap.size)) refuse("EINVAL");
  const pages = bitmap.pgsize === 0n ? 0n : size / (bitmap.pgsize & -bitmap.pgsize);
  const needed = (pages + 63n) / 64n * 8n;
  if (pages === 0n || bitmap.size === 0n || bitmap.size > MAX_BITMAP_BYTES) refuse("EINVAL");
  if (bitmap.size < needed) refuse("EINVAL");
}

/** The dirty pages of a container's mappings. */
export class Type1Tracking {
  readonly #list: DmaList;
  readonly #user: UserMemory;
  readonly #allDirty: () => boolean;
  #on = false;

  /** `allDirty`: whether a device is attached whose writes are not tracked. */
  constructor(list: DmaList, user: UserMemory, allDirty: () => boolean) {
    this.#list = list;
    this.#user = user;
    this.#allDirty = allDirty;
  }

  /** Whether tracking is on. */
  get on(): boolean {
    return this.#on;
  }

  /** VFIO_IOMMU_DIRTY_PAGES; `strike` lets a fault fail the call before the log is touched. */
  ioctl(
    arg: Argument,
    strike: (event: "dirty-start" | "dirty-get" | "dirty-stop") => void,
  ): number {
    const { argsz, flags } = fromUser(vfioIommuType1DirtyBitmap, arg);
    const known = VFIO_IOMMU_DIRTY_PAGES_FLAG_START | VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP |
      VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
    if (argsz < HEADER || (flags & ~known) !== 0) refuse("EINVAL");
    switch (flags) {
      case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
        strike("dirty-start");
        this.#start();
        return 0;
      case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
        strike("dirty-stop");
        this.#stop();
        return 0;
      case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
        return this.#get(arg, argsz, () => strike("dirty-get"));
      default:
        // None, or more than one.
        return refuse("EINVAL");
    }
  }

  /** Starting again changes nothing: pages that are dirty stay dirty. */
  #start(): void {
    if (this.#on) return;
    try {
      for (const dma of this.#list) {
        dma.bitmap = new MappingBitmap(dma.pages);
        populate(dma);
      }
    } catch (error) {
      this.#stop();
      throw error;
    }
    this.#on = true;
  }

  #stop(): void {
    this.#on = false;
    for (const dma of this.#list) dma.bitmap = null;
  }

  #get(arg: Argument, argsz: number, strike: () => void): number {
    if (argsz - HEADER < vfioIommuType1DirtyBitmapGet.size) refuse("EINVAL");
    const { iova, size, bitmap } = structFromUser(vfioIommuType1DirtyBitmapGet, arg, HEADER);
    // The kernel checks the sum, not the last byte, so a range that ends at 2^64 is refused too.
    if (BigInt.asUintN(64, iova + size) < iova) refuse("EINVAL");
    checkBitmap(bitmap, size);
    strike();
    if (bitmap.pgsize !== DMA_PAGE || iova % DMA_PAGE !== 0n) refuse("EINVAL");
    if (size === 0n || size % DMA_PAGE !== 0n || !this.#on) refuse("EINVAL");
    this.#list.refuseToCut(iova, iova + size);
    for (const dma of this.#list.in(iova, iova + size)) {
      this.report(dma, iova, bitmap);
      dma.bitmap!.clear();
      populate(dma);
    }
    return 0;
  }

  /** Writes a mapping's bits into the caller's bitmap, whose first bit is for address `base`. */
  report(dma: Dma, base: bigint, bitmap: VfioBitmap): void {
    if (this.#allDirty()) dma.bitmap!.markAll();
    dma.bitmap!.copyOut(this.#user, bitmap.data, Number((dma.iova - base) / DMA_PAGE));
  }

  /** Adds a new mapping, which is clean. */
  add(dma: Dma): void {
    if (this.#on) dma.bitmap = new MappingBitmap(dma.pages);
  }

  /** Marks every page dirty: a device whose writes were not tracked has left. */
  markAll(): void {
    for (const dma of this.#list) dma.bitmap?.markAll();
  }
}

/** A pinned page is dirty again at once, because its driver may write to it at any time. */
function populate(dma: Dma): void {
  for (const page of dma.pins.keys()) dma.bitmap!.mark(page, 1);
}
