/**
 * What tracks the pages that a device dirties.
 *
 * @module
 */

import type { IovaMapping } from "../vfio/dma/iova.ts";
import type { DirtyReading } from "./reading.ts";

/**
 * The kind of tracker: the type1 IOMMU of the device's container, the device's own log, or its page
 * table in an iommufd.
 */
export type TrackerName = "type1" | "device" | "iommufd";

/** What to read, and how closely. */
export interface ReadOptions {
  /**
   * The ranges to read, each of one or more whole mappings; all that is mapped
   * where left out.
   */
  readonly ranges?: readonly IovaMapping[] | undefined;
  /**
   * Tell pinned pages from those that were written once; the IOMMU is read twice
   * in a row for it. A device's log does not know them.
   */
  readonly twice?: boolean | undefined;
}

/** A reading of pages that are no longer mapped. */
export interface UnmapReading {
  /** Their last dirty pages; all pages of a part that failed. */
  readonly reading: DirtyReading;
  /** Bytes that really were unmapped. */
  readonly unmapped: bigint;
  /** Why not all were, or why their last dirty pages are not known; null if all went well. */
  readonly error: Error | null;
}

/**
 * Tracks the pages that devices dirty by DMA. Closing a tracker stops it if it started tracking.
 */
export interface DirtyTracker extends Disposable {
  /** The kind of tracker. */
  readonly name: TrackerName;
  /** Bytes per bit of the bitmap. */
  readonly pgsize: number;
  /** Whether it tracks now. */
  readonly active: boolean;
  /** Starts tracking, with all pages clean. Does nothing if it has started. */
  start(): void;
  /** Stops tracking; dirty pages that were not read are lost. Does nothing if it has not started. */
  stop(): void;
  /**
   * Reads which pages became dirty since the last read, and makes them clean.
   *
   * @throws {DirtyRangeError} If a range cannot be read; then nothing is read.
   */
  read(options?: ReadOptions): DirtyReading;
  /**
   * Unmaps whole mappings, and reads their last dirty pages.
   *
   * @throws {DirtyRangeError} If the range cannot be unmapped; then nothing is unmapped.
   */
  unmapWithDirty(iova: bigint, size: bigint): UnmapReading;
  /** Stops tracking if it started it, and frees its memory. */
  close(): void;
}
