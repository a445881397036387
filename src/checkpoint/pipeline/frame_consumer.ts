/**
 * The device's end of a restore: the batches that lie in its ring.
 */

import { parseBatchMeta } from "../frames/data_frame.ts";
import { FRAME_HEADER_SIZE } from "../frames/constants.ts";
import { Doorbell } from "./doorbell.ts";
import { slotFrame } from "./_frame_slot.ts";
import { RingConsumer, type RingMemory, type Slot } from "./ring.ts";

/** Transactions for a device, one behind the other. */
export interface SlotBatch {
  /** Their bytes, which hold until the batch is released. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** The size of each. */
  readonly sizes: Uint32Array;
  /** Whether the last one goes on in the next batch. */
  readonly more: boolean;
}

/** Takes the batches of one device out of its ring. What is there has been checked. */
export class FrameConsumer {
  readonly #ring: RingConsumer;
  readonly #bell: Doorbell;

  /** The device's ring. */
  constructor(memory: RingMemory) {
    this.#ring = new RingConsumer(memory);
    this.#bell = new Doorbell(memory.consumer);
  }

  /**
   * Waits for the next batch.
   *
   * @returns `ended` once the whole checkpoint has been read and found right, `cancelled` if
   * the reader has given up; null if nothing came in so many milliseconds.
   */
  batch(timeoutMs: number): SlotBatch | "ended" | "cancelled" | null {
    const found = timeoutMs > 0 ? this.#bell.until(() => this.#look(), timeoutMs) : this.#look();
    if (found === null || found === "ended" || found === "cancelled") return found;
    const { head, body } = slotFrame(found);
    const meta = parseBatchMeta(head.subarray(FRAME_HEADER_SIZE));
    if (typeof meta === "string") throw new Error(`Cannot restore a frame: ${meta}`);
    return { bytes: body, sizes: meta.sizes, more: meta.more };
  }

  /** Resolves once there is a batch, or none comes: for a thread that must not block. */
  async untilBatch(): Promise<void> {
    await this.#bell.untilAsync(() => this.#look());
  }

  #look(): Slot | "ended" | "cancelled" | null {
    if (this.#ring.cancelled) return "cancelled";
    return this.#ring.take() ?? (this.#ring.ended ? "ended" : null);
  }

  /** The device has taken the batch. */
  release(): void {
    this.#ring.release();
  }
}
