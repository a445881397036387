/**
 * The tracker of an open device's dirty pages, asked on the device's thread.
 *
 * @module
 */

import type { DirtyReading, ReadOptions, TrackerName, UnmapReading } from "../dirty/mod.ts";
import type { TrackerDescription } from "./thread/session.ts";
import { ask } from "./thread/session_client.ts";

/**
 * Tracks the pages that an open device dirties by DMA; a device has one if it was opened with
 * `tracker`. It ends when the device is closed.
 *
 * @example
 * ```ts
 * import { openDevice } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * await using device = await openDevice("sim:trapped?pin=2", {
 *   maps: [{ iova: 0x100000n, size: 1n << 20n }],
 *   tracker: "auto",
 * });
 * await device.dirty!.start();
 * const reading = await device.dirty!.read();
 * assert.deepEqual([reading.dirtyPages, reading.pages], [2, 256]);
 * ```
 */
export class DirtyTracking {
  /** The kind of tracker. */
  readonly name: TrackerName;
  /** Why this tracker was chosen, as text; null if the caller named it. */
  readonly reason: string | null;
  /** Bytes per bit of the bitmap. */
  readonly pgsize: number;
  readonly #device: object;

  /** Made by `openDevice`. */
  constructor(device: object, { name, reason, pgsize }: TrackerDescription) {
    this.#device = device;
    this.name = name;
    this.reason = reason;
    this.pgsize = pgsize;
  }

  /**
   * Starts tracking, with all pages clean. Does nothing if it has started.
   *
   * @throws What the tracker's `start` throws ({@linkcode Type1Tracker}, {@linkcode LogTracker}).
   */
  start(): Promise<void> {
    return ask(this.#device, "startTracking");
  }

  /**
   * Stops tracking; dirty pages that were not read are lost. Does nothing if it has not started.
   */
  stop(): Promise<void> {
    return ask(this.#device, "stopTracking");
  }

  /**
   * Reads which pages became dirty since the last read, and makes them clean.
   *
   * @throws {DirtyRangeError} If a range cannot be read; then nothing is read.
   */
  read(options: ReadOptions = {}): Promise<DirtyReading> {
    return ask(this.#device, "readDirty", options);
  }

  /**
   * Unmaps whole mappings, and reads their last dirty pages.
   *
   * @throws {DirtyRangeError} If the range cannot be unmapped; then nothing is unmapped.
   */
  unmapWithDirty(iova: bigint, size: bigint): Promise<UnmapReading> {
    return ask(this.#device, "unmapWithDirty", iova, size);
  }
}
