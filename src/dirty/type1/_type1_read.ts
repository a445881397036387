/**
 * One mapping's dirty pages, from a type1 container.
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import { VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP } from "../../uapi/mod.ts";
import { AnswerError } from "../../vfio/device/answer_error.ts";
import type { Type1Container } from "../../vfio/dma/container.ts";
import { DmaError } from "../../vfio/dma/dma_error.ts";
import { formatIova, IOVA_END, type IovaMapping } from "../../vfio/dma/iova.ts";
import { CheckedBitmap } from "../bitmap/checked_bitmap.ts";
import type { DirtyBitmap } from "../bitmap/bitmap.ts";
import type { DirtyRange } from "../reading.ts";
import { allDirty } from "../unmap_each.ts";

/** Reads mappings one by one, with one call each. */
export class Type1Reader implements Disposable {
  readonly #container: Type1Container;
  readonly #pgsize: number;
  readonly #bits: CheckedBitmap;

  constructor(kernel: Kernel, container: Type1Container, pgsize: number) {
    this.#container = container;
    this.#pgsize = pgsize;
    this.#bits = new CheckedBitmap(kernel);
  }

  /** Returns whether the kernel knows a mapping that begins there. */
  #get({ iova, size }: IovaMapping): boolean {
    const { data, bytes } = this.#bits.prepare({ iova, size, pgsize: this.#pgsize });
    this.#container.dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, {
      iova,
      size,
      bitmap: { pgsize: BigInt(this.#pgsize), size: BigInt(bytes), data },
    });
    return this.#bits.written;
  }

  /** The dirty pages; all pages if reading fails. */
  read(mapping: IovaMapping): DirtyRange {
    try {
      if (!this.#get(mapping)) {
        throw new AnswerError(
          `Cannot read the dirty pages of ${formatIova(mapping)}: nothing is mapped there`,
          "dirty bitmap",
        );
      }
      return { bitmap: this.#take(mapping), pinned: null, lost: null };
    } catch (error) {
      return allDirty(mapping, this.#pgsize, readError(mapping, error));
    }
  }

  /** The dirty pages of two reads in a row; pinned are those of both. */
  readTwice(mapping: IovaMapping): DirtyRange {
    return this.again(this.read(mapping));
  }

  /** Reads again what was just read. */
  again(first: DirtyRange): DirtyRange {
    if (first.lost !== null) return first;
    const second = this.read(first.bitmap);
    if (second.lost !== null) return second;
    return {
      bitmap: first.bitmap.union(second.bitmap),
      pinned: first.bitmap.difference(first.bitmap.difference(second.bitmap)),
      lost: null,
    };
  }

  /** Unmaps a mapping and reads its last dirty pages; also returns the unmapped bytes. */
  unmap(mapping: IovaMapping): { readonly range: DirtyRange; readonly unmapped: bigint } {
    const { iova, size } = mapping;
    let unmapped = 0n;
    try {
      const { data, bytes } = this.#bits.prepare({ iova, size, pgsize: this.#pgsize });
      unmapped = this.#container.unmap(iova, size, {
        pgsize: BigInt(this.#pgsize),
        size: BigInt(bytes),
        data,
      });
      if (unmapped !== size) {
        throw new AnswerError(
          `Cannot tell what is dirty in ${formatIova(mapping)}: the kernel unmapped ` +
            `${unmapped} of its ${size} bytes`,
          "unmapped bytes",
        );
      }
      return { range: { bitmap: this.#take(mapping), pinned: null, lost: null }, unmapped };
    } catch (error) {
      return { range: allDirty(mapping, this.#pgsize, asError(error)), unmapped };
    }
  }

  /**
   * Whether the kernel has a mapping; null if it does not answer. The call clears the mapping's
   * dirty bits.
   */
  isMapped(mapping: IovaMapping): boolean | null {
    try {
      return this.#get(mapping);
    } catch (error) {
      if (error instanceof SysError) return null;
      throw error;
    }
  }

  /** Whether dirty pages are tracked now; asks about a page that is not mapped. */
  isTracking(hole: bigint): boolean {
    try {
      this.#get({ iova: hole, size: BigInt(this.#pgsize) });
      return true;
    } catch (error) {
      if (error instanceof SysError) return false;
      throw error;
    }
  }

  #take({ iova, size }: IovaMapping): DirtyBitmap {
    return this.#bits.take({ iova, size, pgsize: this.#pgsize });
  }

  /** Frees the memory. */
  close(): void {
    this.#bits.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function readError(mapping: IovaMapping, error: unknown): Error {
  if (!(error instanceof SysError)) return asError(error);
  const atTheEnd = mapping.iova + mapping.size === IOVA_END && isErrno(error, "EINVAL");
  return new DmaError(
    `Cannot read the dirty pages of ${formatIova(mapping)}`,
    atTheEnd
      ? "this kernel refuses a range that ends at 2^64 (Linux takes it from 6.19 on)"
      : "the kernel refuses",
    "",
    error,
  );
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
