/**
 * The device's end of a save: batches become DATA frames where they lie.
 */

import { batchHeadSize, writeBatchMeta } from "../frames/data_frame.ts";
import { describeFrame } from "../frames/frame_writer.ts";
import { FRAME_DATA } from "../frames/constants.ts";
import type { Phase } from "../batches/transaction.ts";
import { Doorbell } from "./doorbell.ts";
import { bodyRoom, headRoom, setFrame } from "./_frame_slot.ts";
import { type RingMemory, RingProducer, type Slot } from "./ring.ts";

/** What a batch is beside its bytes, which lie in the room that was given for them. */
export interface BatchShape {
  /** The phase that yielded it. */
  readonly phase: Phase;
  /** The size of each transaction. */
  readonly sizes: ArrayLike<number>;
  /** Whether the last one goes on in the next batch. */
  readonly more: boolean;
  /** The bytes of all of them. */
  readonly length: number;
}

/**
 * Puts the frames of one device into its ring. They are whole but for their
 * place among the frames of the others, which the writer gives them. The CRC is
 * taken here, of what this thread has just read.
 */
export class FrameProducer {
  readonly #ring: RingProducer;
  readonly #bell: Doorbell;
  readonly #device: number;
  readonly #begun: number;
  #slot: Slot | null = null;

  /**
   * @param device The number of the device in the checkpoint.
   * @param begun When the checkpoint was begun, in milliseconds since 1970: threads have no other
   * clock in common.
   */
  constructor(memory: RingMemory, device: number, begun: number) {
    this.#ring = new RingProducer(memory);
    this.#bell = new Doorbell(memory.producer);
    this.#device = device;
    this.#begun = begun;
  }

  /** Whether the writer takes no more. */
  get cancelled(): boolean {
    return this.#ring.cancelled;
  }

  /**
   * Waits for room for a batch's bytes: the same until a frame is made of it.
   *
   * @returns Null where there is none in so many milliseconds, or the ring is cancelled.
   */
  room(timeoutMs: number): Uint8Array<SharedArrayBuffer> | null {
    const found = this.#bell.until(
      () => this.#ring.cancelled ? "cancelled" : this.#ring.claim(),
      timeoutMs,
    );
    this.#slot = found === "cancelled" ? null : found;
    return this.#slot === null ? null : bodyRoom(this.#slot);
  }

  /** Makes a frame of the batch whose bytes were filled in, and hands it to the writer. */
  frame({ phase, sizes, more, length }: BatchShape): void {
    const slot = this.#slot;
    if (slot === null) throw new Error("Cannot make a frame: there is no room for it");
    const headLength = batchHeadSize(sizes.length);
    const head = headRoom(slot, headLength);
    const now = performance.timeOrigin + performance.now();
    const micros = Math.max(0, Math.round((now - this.#begun) * 1000));
    writeBatchMeta(head, { phase, sizes, more, micros });
    const body = bodyRoom(slot).subarray(0, length);
    describeFrame(head, { type: FRAME_DATA, flags: 0, device: this.#device }, body);
    setFrame(slot, headLength, length);
    this.#slot = null;
    this.#ring.publish();
  }

  /** The device has given all that it has. */
  end(): void {
    this.#ring.end();
  }

  /** The device gives no more, and what it gave does not count. */
  cancel(): void {
    this.#ring.cancel();
  }
}
