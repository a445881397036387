/**
 * Dirty pages by a page table of an iommufd.
 *
 * @module
 */

import { cleanedUp, cleanlyThen } from "../../base/cleanup.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import {
  IOMMU_HW_CAP_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
} from "../../uapi/mod.ts";
import { DmaError } from "../../vfio/dma/dma_error.ts";
import { hwCapabilities, Hwpt } from "../../vfio/dma/hwpt.ts";
import type { Ioas } from "../../vfio/dma/ioas.ts";
import { formatIova, type IovaMapping } from "../../vfio/dma/iova.ts";
import { noIommufdTracking } from "../../vfio/reasons/tracking_reasons.ts";
import { UnsupportedError } from "../../vfio/reasons/unsupported_error.ts";
import { BITMAP_PAGES_MAX } from "../bitmap/bitmap_range.ts";
import { CheckedBitmap } from "../bitmap/checked_bitmap.ts";
import { DirtyRangeError } from "../range_error.ts";
import { mappingsIn } from "../ranges.ts";
import { certainReading, type DirtyRange, type DirtyReading } from "../reading.ts";
import type { DirtyTracker, ReadOptions, UnmapReading } from "../tracker.ts";
import { allDirty, unmapEach } from "../unmap_each.ts";

/** A device that is attached to an IOAS; a {@linkcode VfioDevice} is one. */
export interface AttachedDevice {
  /** Its id in the iommufd; null if that is not known. */
  readonly iommufdId: number | null;
  /** Attaches it to an IOAS or a page table, in place of what it was attached to. */
  attach(id: number): void;
}

/**
 * Tracks the pages that one device dirties, in a page table of its iommufd that the IOMMU hardware
 * marks (IOMMU_HWPT_SET_DIRTY_TRACKING, IOMMU_HWPT_GET_DIRTY_BITMAP). It does not cover other
 * devices in the same IOAS, and does not know which pages are pinned.
 *
 * The device is attached to the page table as long as the tracker is open, and to the IOAS again
 * when it is closed. Mappings that are made meanwhile are tracked, too.
 *
 * @example
 * ```ts
 * import { SimKernel } from "vfiokit/sim";
 * import { DmaMemory, openVfioDevice, parseDeviceName } from "vfiokit/vfio";
 * import { IommufdTracker } from "vfiokit/dirty";
 * import assert from "node:assert/strict";
 *
 * const kernel = new SimKernel("sim:trapped?cdev=1&iommu=dirty-tracking");
 * using memory = DmaMemory.allocate(kernel, 1 << 20);
 * using device = openVfioDevice(kernel, parseDeviceName(kernel.devices[0]!.path));
 * const ioas = device.ioas!;
 * ioas.map({ iova: 0x100000n, size: 1n << 20n, vaddr: memory.address, flags: 3 });
 * using tracker = new IommufdTracker(device, ioas, 4096);
 * tracker.start();
 * kernel.devices[0]!.dma.write(0x105000n, new Uint8Array([1]));
 * assert.deepEqual([...tracker.read().runs()], [{ iova: 0x105000n, size: 0x1000n }]);
 * ```
 */
export class IommufdTracker implements DirtyTracker {
  /** Always `iommufd`. */
  readonly name = "iommufd";
  /** The address space whose mappings are read. */
  readonly ioas: Ioas;
  /** Bytes per bit of the bitmap. */
  readonly pgsize: number;
  readonly #device: AttachedDevice;
  readonly #hwpt: Hwpt;
  readonly #bits: CheckedBitmap;
  #active = false;
  #closed = false;

  /**
   * Makes a tracker that has not started: allocates a page table that tracks, and attaches the
   * device to it.
   *
   * @param ioas The IOAS that the device is attached to.
   * @param pgsize Bytes per bit, a power of two from 4096 on; all mappings are in whole pages of
   * this size.
   * @throws {UnsupportedError} `no-iommufd-tracking`: the device, its IOMMU or the kernel has none.
   * @throws {SysError} If the kernel refuses for another reason. The device stays as it was.
   */
  constructor(device: AttachedDevice, ioas: Ioas, pgsize: number) {
    this.ioas = ioas;
    this.pgsize = pgsize;
    this.#device = device;
    this.#hwpt = allocateTracking(device, ioas);
    try {
      device.attach(this.#hwpt.id);
    } catch (error) {
      throw cleanedUp(error, () => this.#hwpt.destroy());
    }
    this.#bits = new CheckedBitmap(ioas.iommufd.kernel);
  }

  /** Whether it tracks now. */
  get active(): boolean {
    return this.#active;
  }

  /**
   * Starts tracking, with all pages clean. Does nothing if it has started.
   *
   * @throws {DirtyRangeError} If a mapping is larger than one bitmap can be.
   * @throws {SysError} If the IOMMU's driver refuses.
   */
  start(): void {
    if (this.#active) return;
    for (const mapping of this.ioas.mappings) this.#checkSize(mapping);
    this.#hwpt.setDirtyTracking(true);
    this.#active = true;
  }

  /**
   * Stops tracking; dirty pages that were not read are lost. Does nothing if it has not started.
   *
   * @throws {SysError} If the IOMMU's driver refuses.
   */
  stop(): void {
    if (!this.#active) return;
    this.#hwpt.setDirtyTracking(false);
    this.#active = false;
  }

  #checkSize(mapping: IovaMapping): void {
    if (mapping.size <= BigInt(BITMAP_PAGES_MAX) * BigInt(this.pgsize)) return;
    throw new DirtyRangeError(
      `Cannot track the mapping ${formatIova(mapping)}: it has more than ${BITMAP_PAGES_MAX} ` +
        "pages; map it in parts",
    );
  }

  /** The mappings that a call is about. */
  #wanted(what: string, ranges: readonly IovaMapping[] | undefined): readonly IovaMapping[] {
    // Linux answers without any dirty page where it does not track.
    if (!this.#active) throw new TypeError(`Cannot ${what}: tracking has not started`);
    const { mappings } = this.ioas;
    const wanted = ranges === undefined ? mappings : mappingsIn(ranges, mappings, this.pgsize);
    for (const mapping of wanted) this.#checkSize(mapping);
    return wanted;
  }

  /**
   * Reads which pages became dirty since the last read, with one call for each mapping: from the
   * first hole in a range on, Linux reports nothing, and no error. A mapping that cannot be read
   * counts as dirty as a whole, and says why. It does not say which pages are pinned, with `twice`
   * or without.
   *
   * @throws {DirtyRangeError} If a range is not in whole mappings, empty, or over another; or a
   * mapping larger than one bitmap can be.
   */
  read({ ranges }: ReadOptions = {}): DirtyReading {
    const wanted = this.#wanted("read dirty pages", ranges);
    return certainReading(wanted.map((mapping) => this.#read(mapping, 0)));
  }

  /** Reads one mapping; `flags`: IOMMU_HWPT_GET_DIRTY_BITMAP_*. */
  #read(mapping: IovaMapping, flags: number): DirtyRange {
    const range = { iova: mapping.iova, size: mapping.size, pgsize: this.pgsize };
    try {
      const { data } = this.#bits.prepareZero(range);
      this.#hwpt.readDirtyBitmap({
        iova: range.iova,
        length: range.size,
        page_size: BigInt(this.pgsize),
        data,
        flags,
      });
      return { bitmap: this.#bits.take(range), pinned: null, lost: null };
    } catch (error) {
      return allDirty(mapping, this.pgsize, readError(mapping, error));
    }
  }

  /**
   * Reads the last dirty pages of whole mappings, and unmaps them, one after the other: with the
   * mapping, Linux drops its dirty pages. What the device writes between the two is not seen, so
   * unmap what it does not write to any more. It ends at the first failure, and the whole range
   * then counts as dirty.
   *
   * @throws {DirtyRangeError} If the range is empty, not in whole pages, or cuts a mapping.
   */
  unmapWithDirty(iova: bigint, size: bigint): UnmapReading {
    const wanted = this.#wanted("unmap with dirty pages", [{ iova, size }]);
    const { ranges, unmapped, error } = unmapEach(wanted, this.pgsize, (mapping) => {
      // The bits go with the mapping: there is no need to clear them.
      const range = this.#read(mapping, IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR);
      if (range.lost !== null) return { range, unmapped: 0n };
      try {
        return { range, unmapped: this.ioas.unmap(mapping.iova, mapping.size) };
      } catch (error) {
        return { range: allDirty(mapping, this.pgsize, error as Error), unmapped: 0n };
      }
    });
    return { reading: certainReading(ranges), unmapped, error };
  }

  /** Stops tracking if it started it, and attaches the device to its IOAS again. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    cleanlyThen(
      () => this.stop(),
      () =>
        cleanlyThen(
          () => this.#device.attach(this.ioas.id),
          () => cleanlyThen(() => this.#hwpt.destroy(), () => this.#bits.close()),
        ),
    );
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function allocateTracking({ iommufdId }: AttachedDevice, { iommufd, id }: Ioas): Hwpt {
  if (iommufdId === null) {
    throw refused("its id in the iommufd is not known, as it was bound elsewhere");
  }
  try {
    const capabilities = hwCapabilities(iommufd, iommufdId);
    if ((capabilities & BigInt(IOMMU_HW_CAP_DIRTY_TRACKING)) === 0n) {
      throw refused("the IOMMU does not have the capability (IOMMU_GET_HW_INFO)");
    }
    return Hwpt.allocate(iommufd, iommufdId, id, IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
  } catch (error) {
    if (isErrno(error, "ENOENT")) throw refused("there is no IOMMU hardware behind it", error);
    if (isErrno(error, "ENOTTY", "EOPNOTSUPP")) {
      throw refused(`${error.syscall}: ${error.code}`, error);
    }
    throw error;
  }
}

function refused(why: string, cause?: unknown): UnsupportedError {
  return new UnsupportedError([noIommufdTracking(why)], { cause });
}

function readError(mapping: IovaMapping, error: unknown): Error {
  if (error instanceof SysError) {
    const what = `Cannot read the dirty pages of ${formatIova(mapping)}`;
    return new DmaError(what, "the kernel refuses", "", error);
  }
  return error as Error;
}
