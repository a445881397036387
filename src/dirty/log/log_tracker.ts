/**
 * Dirty pages by a device's own log.
 *
 * @module
 */

import { cleanlyThen } from "../../base/cleanup.ts";
import { isErrno } from "../../kernel/sys_error.ts";
import type { AddressSpace } from "../../vfio/dma/address_space.ts";
import {
  DMA_LOGGING_REPORT,
  DMA_LOGGING_START,
  DMA_LOGGING_STOP,
  type FeatureDevice,
  probeFeature,
} from "../../vfio/device/feature.ts";
import { encloses, formatIova, type IovaMapping } from "../../vfio/dma/iova.ts";
import { deviceLogUnreadable, noDeviceLog } from "../../vfio/reasons/tracking_reasons.ts";
import { UnsupportedError } from "../../vfio/reasons/unsupported_error.ts";
import { DeviceLog, type LogExtent } from "./_device_log.ts";
import { UnreadPages } from "./_unread_pages.ts";
import { checkUnmapped, notLogged, reportError } from "./_log_errors.ts";
import { alignOut } from "./_log_ranges.ts";
import { DirtyBitmap } from "../bitmap/bitmap.ts";
import { BITMAP_PAGES_MAX } from "../bitmap/bitmap_range.ts";
import { DirtyRangeError } from "../range_error.ts";
import { mappingsIn } from "../ranges.ts";
import { certainReading, type DirtyRange, type DirtyReading } from "../reading.ts";
import type { DirtyTracker, ReadOptions, UnmapReading } from "../tracker.ts";
import { allDirty, unmapEach } from "../unmap_each.ts";

/** The range with which a log is tried if nothing is mapped yet. */
const NOTHING_MAPPED: readonly IovaMapping[] = [{ iova: 0n, size: 4096n }];

/**
 * Tracks the pages that one device dirties, by the device's own log
 * (VFIO_DEVICE_FEATURE_DMA_LOGGING_START, _REPORT and _STOP). The log does not cover other devices
 * in the same address space, and does not know which pages are pinned.
 *
 * The log covers the mappings that exist when it starts. A later mapping counts as dirty as a
 * whole, and so does one whose report failed. After EIO the device has lost its log, and everything
 * is dirty until it is started again.
 *
 * @example
 * ```ts
 * import { SimKernel } from "vfiokit/sim";
 * import { DmaMemory, openVfioDevice, parseDeviceName } from "vfiokit/vfio";
 * import { LogTracker } from "vfiokit/dirty";
 * import assert from "node:assert/strict";
 *
 * const kernel = new SimKernel("sim:mlx5");
 * using memory = DmaMemory.allocate(kernel, 1 << 20);
 * using device = openVfioDevice(kernel, parseDeviceName("sim:mlx5"));
 * const container = device.container!;
 * container.map({ iova: 0x100000n, size: 1n << 20n, vaddr: memory.address, flags: 3 });
 * using tracker = new LogTracker(device, container, 4096);
 * tracker.start();
 * kernel.devices[0]!.dma.write(0x105000n, new Uint8Array([1]));
 * assert.deepEqual([...tracker.read().runs()], [{ iova: 0x105000n, size: 0x1000n }]);
 * ```
 */
export class LogTracker implements DirtyTracker {
  /** Always `device`. */
  readonly name = "device";
  /** The address space whose mappings are read. */
  readonly space: AddressSpace;
  /** Bytes per bit of the bitmap. */
  readonly pgsize: number;
  /**
   * Page size of the log that the device chose, in bytes. If it is larger than
   * {@linkcode LogTracker.pgsize}, several bits become dirty together.
   */
  readonly devicePgsize: bigint;
  readonly #log: DeviceLog;
  readonly #unread: UnreadPages;
  /** The started log's ranges; null if it has not started. */
  #extent: LogExtent | null = null;
  /** Why the log cannot be read any more. */
  #broken: Error | null = null;

  /**
   * Makes a tracker that has not started. The log is tried: started, read once and stopped, since
   * some kernels start a log but cannot report it.
   *
   * @param space The address space whose mappings are logged and read.
   * @param pgsize Bytes per bit, a power of two from 4096 on; all mappings are in whole pages of
   * this size.
   * @throws {UnsupportedError} `no-device-log`, `device-log-refused` if there is too much memory,
   * `device-log-unreadable` if the kernel has no reports.
   * @throws {DmaError} If it does not start, or cannot be read: why, and what to do.
   * @throws {DirtyRangeError} If all that is mapped ends at 2^64.
   * @throws {AnswerError} If the page size that the device chose is impossible.
   */
  constructor(device: FeatureDevice, space: AddressSpace, pgsize: number) {
    this.space = space;
    this.pgsize = pgsize;
    requireFeatures(device);
    this.#log = new DeviceLog(device, pgsize);
    this.#unread = new UnreadPages(pgsize);
    const { mappings } = space;
    const extent = this.#log.start(mappings.length === 0 ? NOTHING_MAPPED : mappings);
    this.devicePgsize = extent.devicePgsize;
    cleanlyThen(
      () => this.#tryReport(extent),
      () => cleanlyThen(() => this.#log.close(), () => this.#log.stop()),
    );
  }

  #tryReport({ ranges, unit }: LogExtent): void {
    try {
      this.#log.report({ iova: ranges[0]!.iova, size: unit });
    } catch (error) {
      if (!isErrno(error, "EOPNOTSUPP")) throw reportError(ranges[0]!, error);
      throw new UnsupportedError([deviceLogUnreadable(error.code)], { cause: error });
    }
  }

  /** Whether it tracks now. */
  get active(): boolean {
    return this.#extent !== null;
  }

  /**
   * Starts tracking, with all pages clean. Does nothing if it has started.
   *
   * @throws {DirtyRangeError} If a mapping is larger than one bitmap can be, or
   * nothing is mapped that could be logged.
   * @throws {UnsupportedError} If the device does not log this much memory.
   * @throws {DmaError} If it does not start, or cannot be read: why, and what to do.
   */
  start(): void {
    if (this.#extent !== null) return;
    const { mappings } = this.space;
    for (const mapping of mappings) this.#checkSize(mapping);
    this.#extent = this.#log.start(mappings);
    this.#broken = null;
    this.#unread.clear();
  }

  /**
   * Stops tracking; dirty pages that were not read are lost. Does nothing if it has not started.
   *
   * @throws {DmaError} If the driver refuses: why, and what to do.
   */
  stop(): void {
    if (this.#extent === null) return;
    this.#log.stop();
    this.#extent = null;
  }

  #checkSize(mapping: IovaMapping): void {
    // A report covers a little more than the mapping.
    const most = BITMAP_PAGES_MAX / 2;
    if (mapping.size <= BigInt(most) * BigInt(this.pgsize)) return;
    throw new DirtyRangeError(
      `Cannot track the mapping ${formatIova(mapping)}: it has more than ${most} pages; map it ` +
        "in parts",
    );
  }

  #started(what: string): LogExtent {
    if (this.#extent === null) throw new TypeError(`Cannot ${what}: tracking has not started`);
    return this.#extent;
  }

  /**
   * Reads which pages became dirty since the last read. A mapping that cannot be
   * read counts as dirty as a whole, and says why. It does not say which pages are pinned, with
   * `twice` or without: the device logs only what it writes.
   *
   * @throws {DirtyRangeError} If a range is not in whole mappings, empty, or
   * over another; or a mapping larger than one bitmap can be.
   */
  read({ ranges }: ReadOptions = {}): DirtyReading {
    const extent = this.#started("read dirty pages");
    const { mappings } = this.space;
    const wanted = ranges === undefined ? mappings : mappingsIn(ranges, mappings, this.pgsize);
    for (const mapping of wanted) this.#checkSize(mapping);
    return certainReading(wanted.map((mapping) => this.#read(mapping, extent, mappings)));
  }

  #read(
    mapping: IovaMapping,
    { ranges, unit }: LogExtent,
    mappings: readonly IovaMapping[],
  ): DirtyRange {
    if (this.#broken !== null) return allDirty(mapping, this.pgsize, this.#broken);
    const report = alignOut(mapping, unit);
    if (!ranges.some((range) => encloses(range, report))) {
      return allDirty(mapping, this.pgsize, notLogged(mapping, report));
    }
    try {
      const bitmap = this.#log.report(report);
      // Pages of other mappings in the same unit, which the report has cleared.
      this.#unread.keep(bitmap, mapping, mappings);
      return { bitmap: this.#unread.take(bitmap, mapping), pinned: null, lost: null };
    } catch (error) {
      const range = { ...report, pgsize: this.pgsize };
      this.#unread.keep(DirtyBitmap.fromRuns(range, [range]), mapping, mappings);
      const lost = reportError(mapping, error);
      if (isErrno(error, "EIO")) this.#broken = lost;
      return allDirty(mapping, this.pgsize, lost);
    }
  }

  /**
   * Unmaps whole mappings, one call each, and then reads their last dirty pages: the device cannot
   * write there any more, and its log still has them. It ends at the first failure, and the whole
   * range then counts as dirty.
   *
   * @throws {DirtyRangeError} If the range is empty, not in whole pages, or cuts a mapping.
   */
  unmapWithDirty(iova: bigint, size: bigint): UnmapReading {
    const extent = this.#started("unmap with dirty pages");
    const wanted = mappingsIn([{ iova, size }], this.space.mappings, this.pgsize);
    for (const mapping of wanted) this.#checkSize(mapping);
    const { ranges, unmapped, error } = unmapEach(wanted, this.pgsize, (mapping) => {
      let unmapped = 0n;
      try {
        unmapped = this.space.unmap(mapping.iova, mapping.size);
        checkUnmapped(mapping, unmapped);
        return { range: this.#read(mapping, extent, this.space.mappings), unmapped };
      } catch (error) {
        return { range: allDirty(mapping, this.pgsize, error as Error), unmapped };
      }
    });
    return { reading: certainReading(ranges), unmapped, error };
  }

  /** Stops tracking if it started it, and frees its memory. */
  close(): void {
    cleanlyThen(() => this.stop(), () => this.#log.close());
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function requireFeatures(device: FeatureDevice): void {
  const wanted = [
    [DMA_LOGGING_START, "set"],
    [DMA_LOGGING_STOP, "set"],
    [DMA_LOGGING_REPORT, "get"],
  ] as const;
  for (const [feature, access] of wanted) {
    const errno = probeFeature(device, feature, access);
    if (errno !== null) throw new UnsupportedError([noDeviceLog(feature.name, errno)]);
  }
}
