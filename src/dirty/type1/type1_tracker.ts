/**
 * Dirty pages of a type1 container.
 *
 * @module
 */

import { cleanlyThen } from "../../base/cleanup.ts";
import { isErrno } from "../../kernel/sys_error.ts";
import {
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
} from "../../uapi/mod.ts";
import type { Type1Container } from "../../vfio/dma/container.ts";
import { formatIova, type IovaMapping } from "../../vfio/dma/iova.ts";
import { noDirtyCapability, notType1v2 } from "../../vfio/reasons/tracking_reasons.ts";
import { UnsupportedError } from "../../vfio/reasons/unsupported_error.ts";
import { Type1Reader } from "./_type1_read.ts";
import { freePage, witnessIsDirty } from "./_unused_page.ts";
import { DirtyRangeError } from "../range_error.ts";
import { mappingsIn } from "../ranges.ts";
import { type DirtyRange, DirtyReading, type TrackingVerdict } from "../reading.ts";
import type { DirtyTracker, ReadOptions, UnmapReading } from "../tracker.ts";
import { unmapEach } from "../unmap_each.ts";
import { type Type1Support, type1Support } from "./type1_support.ts";

/** With fewer pages, all of them may be dirty by chance. */
const VERDICT_PAGES = 64;

/**
 * Tracks what the devices of a type1 container dirty
 * (VFIO_IOMMU_DIRTY_PAGES). It reads the mappings that the container object knows, with one call
 * each.
 *
 * Mediated devices report which pages they write. IOMMU hardware does not: with a passed-through
 * PCI device, every page is dirty in every read, as shown by
 * {@linkcode DirtyReading.verdict}.
 *
 * @example
 * ```ts
 * import { SimKernel } from "vfiokit/sim";
 * import { DmaMemory, openVfioDevice, parseDeviceName } from "vfiokit/vfio";
 * import { Type1Tracker } from "vfiokit/dirty";
 * import assert from "node:assert/strict";
 *
 * const name = parseDeviceName("sim:trapped");
 * const kernel = new SimKernel("sim:trapped");
 * using memory = DmaMemory.allocate(kernel, 1 << 20);
 * using device = openVfioDevice(kernel, name);
 * const container = device.container!;
 * container.map({ iova: 0x100000n, size: 1n << 20n, vaddr: memory.address, flags: 3 });
 * using tracker = new Type1Tracker(container);
 * tracker.start();
 * kernel.devices[0]!.dma.write(0x105000n, new Uint8Array([1]));
 * assert.deepEqual([...tracker.read().runs()], [{ iova: 0x105000n, size: 0x1000n }]);
 * ```
 */
export class Type1Tracker implements DirtyTracker {
  /** Always `type1`. */
  readonly name = "type1";
  /** The container whose mappings are read. */
  readonly container: Type1Container;
  readonly #support: Type1Support;
  readonly #reader: Type1Reader;
  #active = false;
  /** Whether tracking was already on: then this tracker does not stop it. */
  #borrowed = false;
  #verdict: TrackingVerdict = "undecided";

  /**
   * Makes a tracker that has not started.
   *
   * @throws {UnsupportedError} If the container does not track dirty pages.
   * @throws {AnswerError} If its answer is impossible.
   * @throws {SysError} EINVAL if the container has no IOMMU.
   */
  constructor(container: Type1Container) {
    this.container = container;
    this.#support = type1Support(container.info());
    this.#reader = new Type1Reader(container.kernel, container, this.#support.pgsize);
  }

  /** Bytes per bit of the bitmap. */
  get pgsize(): number {
    return this.#support.pgsize;
  }

  /** Whether it tracks now. */
  get active(): boolean {
    return this.#active;
  }

  /**
   * Starts tracking with only pinned pages dirty. Does nothing if it has started. If the owner of a
   * borrowed container had started it, dirty pages stay dirty, and {@linkcode Type1Tracker.stop}
   * leaves it on.
   *
   * @throws {DirtyRangeError} If a mapping is larger than one bitmap can be.
   * @throws {UnsupportedError} If the container has another IOMMU model than TYPE1v2.
   * @throws {SysError} ENOMEM if the kernel has no memory for its bitmaps.
   */
  start(): void {
    if (this.#active) return;
    for (const mapping of this.container.mappings) this.#checkSize(mapping);
    this.#borrowed = !this.container.fd.owned && this.#isOn();
    try {
      this.container.dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
    } catch (error) {
      if (isErrno(error, "EACCES")) throw new UnsupportedError([notType1v2()], { cause: error });
      if (isErrno(error, "ENOTTY")) {
        throw new UnsupportedError([noDirtyCapability()], { cause: error });
      }
      throw error;
    }
    this.#active = true;
  }

  #isOn(): boolean {
    const hole = freePage(null, this.container.mappings, BigInt(this.pgsize));
    return hole !== null && this.#reader.isTracking(hole);
  }

  /**
   * Stops tracking; dirty pages that were not read are lost. Does nothing if it has not started.
   *
   * @throws {SysError} If the kernel refuses.
   */
  stop(): void {
    if (!this.#active) return;
    if (!this.#borrowed) this.container.dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
    this.#active = false;
  }

  #checkSize(mapping: IovaMapping): void {
    const pages = mapping.size / BigInt(this.pgsize);
    if (pages <= BigInt(this.#support.maxPages)) return;
    throw new DirtyRangeError(
      `Cannot track the mapping ${formatIova(mapping)}: it has ${pages} pages, and the bitmap ` +
        `of a mapping has ${this.#support.maxPages} at most; map it in parts`,
    );
  }

  #checkActive(what: string): void {
    if (!this.#active) throw new TypeError(`Cannot ${what}: tracking has not started`);
  }

  /**
   * Reads which pages became dirty since the last read. A mapping that cannot be
   * read counts as dirty as a whole, and says why.
   *
   * @throws {DirtyRangeError} If a range is empty, cuts a mapping or overlaps another, or a mapping
   * is larger than a bitmap can be.
   */
  read({ ranges, twice = false }: ReadOptions = {}): DirtyReading {
    this.#checkActive("read dirty pages");
    const { mappings } = this.container;
    const wanted = ranges === undefined ? mappings : mappingsIn(ranges, mappings, this.pgsize);
    for (const mapping of wanted) this.#checkSize(mapping);
    const read = wanted.map((mapping) =>
      twice ? this.#reader.readTwice(mapping) : this.#reader.read(mapping)
    );
    return this.#judged(read);
  }

  /** Decides whether an all-dirty result is real; reads again if in doubt. */
  #judged(read: readonly DirtyRange[]): DirtyReading {
    const once = new DirtyReading(read, this.#verdict);
    if (once.lost.length > 0 || once.pages === 0) return once;
    // If one page is clean, the IOMMU tracks.
    if (once.dirtyPages < once.pages || (once.pinnedPages ?? once.pages) < once.pages) {
      this.#verdict = "tracks";
    } else if (this.#verdict === "undecided" && once.pages >= VERDICT_PAGES) {
      const twice = read.map((range) => range.pinned === null ? this.#reader.again(range) : range);
      this.#verdict = this.#verdictOf(new DirtyReading(twice, "undecided"));
      return new DirtyReading(twice, this.#verdict);
    }
    return new DirtyReading(read, this.#verdict);
  }

  /** All pages are dirty: are they dirty again in an immediate second read? */
  #verdictOf(twice: DirtyReading): TrackingVerdict {
    if (twice.lost.length > 0) return "undecided";
    if (twice.pinnedPages! < twice.pages) return "tracks";
    // Or the device has all of them pinned, which can be checked in a container that this process
    // opened.
    if (!this.container.fd.owned) return "does-not-track";
    const dirty = witnessIsDirty(this.container, this.#reader, this.pgsize);
    return dirty === false ? "tracks" : "does-not-track";
  }

  /**
   * Unmaps whole mappings, one call each, and reads their last dirty pages. It ends at the first
   * failure: the whole range then counts as dirty, and the list of mappings is what the kernel
   * still has.
   *
   * @throws {DirtyRangeError} If the range is empty, not in whole pages, or cuts a mapping.
   */
  unmapWithDirty(iova: bigint, size: bigint): UnmapReading {
    this.#checkActive("unmap with dirty pages");
    const wanted = mappingsIn([{ iova, size }], this.container.mappings, this.pgsize);
    for (const mapping of wanted) this.#checkSize(mapping);
    const { ranges, unmapped, error } = unmapEach(wanted, this.pgsize, (mapping) => {
      const done = this.#reader.unmap(mapping);
      if (done.range.lost !== null) this.#relist(mapping);
      return done;
    });
    return { reading: new DirtyReading(ranges, this.#verdict), unmapped, error };
  }

  /** Whether a mapping still exists after a failure; true if the kernel does not say. */
  #relist(mapping: IovaMapping): void {
    const listed = this.container.mappings.some(({ iova }) => iova === mapping.iova);
    if (this.#reader.isMapped(mapping) === false) this.container.forget(mapping.iova);
    else if (!listed) this.container.know(mapping);
  }

  /** Stops tracking if it started it, and frees its memory. */
  close(): void {
    cleanlyThen(() => this.stop(), () => this.#reader.close());
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
