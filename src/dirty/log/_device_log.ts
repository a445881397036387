/**
 * A device's log of its DMA: START, REPORT and STOP.
 */

import { cleanedUp, cleanly } from "../../base/cleanup.ts";
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
} from "../../kernel/kernel.ts";
import {
  vfioDeviceFeatureDmaLoggingControl,
  vfioDeviceFeatureDmaLoggingRange,
  vfioDeviceFeatureDmaLoggingReport,
} from "../../uapi/mod.ts";
import { AnswerError } from "../../vfio/device/answer_error.ts";
import {
  DMA_LOGGING_REPORT,
  DMA_LOGGING_START,
  DMA_LOGGING_STOP,
  type FeatureDevice,
  getFeature,
  setFeature,
  triggerFeature,
} from "../../vfio/device/feature.ts";
import type { IovaMapping } from "../../vfio/dma/iova.ts";
import { startError, stopError } from "./_log_errors.ts";
import { rangesToLog } from "./_log_ranges.ts";
import { DirtyBitmap } from "../bitmap/bitmap.ts";
import { bitmapBytes, pagesOf } from "../bitmap/bitmap_range.ts";
import { DirtyRangeError } from "../range_error.ts";

/** Maximum bytes of bitmap in a report: Linux pins this much at a time. */
const REPORT_BYTES = 2 << 20;
const ZEROS: Uint8Array<ArrayBuffer> = new Uint8Array(REPORT_BYTES);
const PAGE = 4096;
const PAGE_SIZE_FIELD = `${vfioDeviceFeatureDmaLoggingControl.name}.page_size`;

/** What a started log covers, and in which units. */
export interface LogExtent {
  /** The logged ranges, in whole units. */
  readonly ranges: readonly IovaMapping[];
  /**
   * Reports cover whole units: at least 64 pages, since a driver may address its bitmap by words
   * only, and whole pages of the size that the device chose, since a report clears a page even if
   * it covers only a part of it.
   */
  readonly unit: bigint;
  /** Page size that the device chose, in bytes. */
  readonly devicePgsize: bigint;
}

/** The log of one device. */
export class DeviceLog implements Disposable {
  readonly #device: FeatureDevice;
  readonly #pgsize: number;
  #memory: Mapping | null = null;

  constructor(device: FeatureDevice, pgsize: number) {
    this.#device = device;
    this.#pgsize = pgsize;
  }

  /**
   * Starts logging the mappings, rounded up to whole units.
   *
   * @throws {UnsupportedError} If the device has no log, or not for this much memory.
   * @throws {DirtyRangeError} If there is nothing to log.
   * @throws {DmaError} If the log does not start.
   * @throws {AnswerError} If the page size that the device chose is impossible.
   */
  start(mappings: readonly IovaMapping[]): LogExtent {
    const words = 64n * BigInt(this.#pgsize);
    const first = this.#startBy(mappings, words);
    if (first.devicePgsize <= words) return first;
    this.stop();
    const second = this.#startBy(mappings, first.devicePgsize);
    if (second.devicePgsize <= second.unit) return second;
    throw this.#unusable(
      `it chose pages of ${first.devicePgsize} bytes, and then of ${second.devicePgsize}`,
    );
  }

  #startBy(mappings: readonly IovaMapping[], unit: bigint): LogExtent {
    const ranges = rangesToLog(mappings, unit);
    if (ranges.length === 0) {
      throw new DirtyRangeError(
        "Cannot start the device's log: nothing is mapped that it could watch",
      );
    }
    const devicePgsize = this.#set(ranges);
    const defect = this.#pageDefect(devicePgsize);
    if (defect === null) return { ranges, unit, devicePgsize };
    throw this.#unusable(`it chose pages of ${devicePgsize} bytes, ${defect}`);
  }

  /** Stops a log that cannot be used; returns the error that says why. */
  #unusable(why: string): unknown {
    const error = new AnswerError(`Cannot use the device's log: ${why}`, PAGE_SIZE_FIELD);
    return cleanedUp(error, () => this.stop());
  }

  /** Why no log can use pages of this size; null if it can. */
  #pageDefect(size: bigint): string | null {
    if (size <= 0n || (size & (size - 1n)) !== 0n) return "no power of two";
    const most = 8n * BigInt(REPORT_BYTES) * BigInt(this.#pgsize);
    return size > most ? `more than the ${most} of a whole report` : null;
  }

  /** Returns the page size that the device chose. */
  #set(ranges: readonly IovaMapping[]): bigint {
    const { size } = vfioDeviceFeatureDmaLoggingRange;
    return cleanly(() => {
      using memory = this.#map(ranges.length * size);
      try {
        ranges.forEach(({ iova, size: length }, index) => {
          memory.write(index * size, vfioDeviceFeatureDmaLoggingRange.pack({ iova, length }));
        });
        return setFeature(this.#device, DMA_LOGGING_START, vfioDeviceFeatureDmaLoggingControl, {
          page_size: BigInt(this.#pgsize),
          num_ranges: ranges.length,
          ranges: memory.address,
        }).page_size;
      } catch (error) {
        throw startError(error);
      }
    });
  }

  /**
   * Returns the pages of a range that became dirty since its last report, and clears them.
   *
   * @param range Whole units, inside one of the logged ranges.
   * @throws {SysError} If the kernel refuses; earlier reports are then lost.
   */
  report({ iova, size }: IovaMapping): DirtyBitmap {
    const range = { iova, size, pgsize: this.#pgsize };
    const bits = new Uint8Array(bitmapBytes(pagesOf(range)));
    const memory = this.#room(Math.min(bits.length, REPORT_BYTES));
    const perByte = 8n * BigInt(this.#pgsize);
    for (let offset = 0; offset < bits.length; offset += REPORT_BYTES) {
      const part = bits.subarray(offset, offset + REPORT_BYTES);
      // The kernel sets bits and clears none.
      memory.write(0, ZEROS.subarray(0, part.length));
      getFeature(this.#device, DMA_LOGGING_REPORT, vfioDeviceFeatureDmaLoggingReport, {
        iova: iova + BigInt(offset) * perByte,
        length: BigInt(part.length) * perByte,
        page_size: BigInt(this.#pgsize),
        bitmap: memory.address,
      });
      memory.read(0, part);
    }
    return DirtyBitmap.over(range, bits);
  }

  /** Memory outside the JS heap: Linux silently drops bits if it cannot write to the memory. */
  #room(bytes: number): Mapping {
    if (this.#memory !== null && this.#memory.length >= bytes) return this.#memory;
    this.close();
    return this.#memory = this.#map(bytes);
  }

  #map(bytes: number): Mapping {
    return this.#device.fd.kernel.mmap(Math.ceil(bytes / PAGE) * PAGE, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
  }

  /**
   * Stops the log; dirty pages that were not reported are lost.
   *
   * @throws {DmaError} If the driver refuses.
   */
  stop(): void {
    try {
      triggerFeature(this.#device, DMA_LOGGING_STOP);
    } catch (error) {
      throw stopError(error);
    }
  }

  /** Frees the memory. */
  close(): void {
    this.#memory?.close();
    this.#memory = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
