/**
 * The device's end of a save: batches become DATA frames where they lie.
 */

import { batchHeadSize, writeBatchMeta } from "../frames/data_frame.ts";
import { describeFrame } from "../frames/frame_writer.ts";
import { packTimeHead, type PhaseTimes } from "../frames/time_frame.ts";
import { FRAME_DATA, FRAME_OPTIONAL, FRAME_TIME, FRAME_ZSTD } from "../frames/constants.ts";
import type { Phase } from "../batches/transaction.ts";
import { Doorbell } from "./doorbell.ts";
import { compressToFrame } from "../frames/zstd.ts";
import { contentRoom, frameHead, putCompressed } from "./_frame_slot.ts";
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

/** The ring that a device's frames go to, and what they are to be. */
export interface FrameTarget {
  /** The device's ring. */
  readonly ring: RingMemory;
  /** The number of the device in the checkpoint. */
  readonly device: number;
  /**
   * When the checkpoint was begun, in milliseconds since 1970: threads have no other clock in
   * common.
   */
  readonly begun: number;
  /** Whether what gets smaller by it is compressed. Slots then have COMPRESSED_SLOT_BYTES. */
  readonly compress: boolean;
}

/**
 * Puts the frames of one device into its ring. They are whole but for their
 * place among the frames of the others, which the writer gives them. The CRC is
 * taken here, of what this thread has just read.
 */
export class FrameProducer {
  readonly #target: FrameTarget;
  readonly #ring: RingProducer;
  readonly #bell: Doorbell;
  #slot: Slot | null = null;

  /** One may be made for each turn: all that lasts is in the ring. */
  constructor(target: FrameTarget) {
    this.#target = target;
    this.#ring = new RingProducer(target.ring);
    this.#bell = new Doorbell(target.ring.producer);
  }

  /** Whether the writer takes no more. */
  get cancelled(): boolean {
    return this.#ring.cancelled;
  }

  /**
   * Waits for room for a batch's bytes: the same until a frame is made of it.
   *
   * @returns Null if there is none in so many milliseconds, or the ring is cancelled.
   */
  room(timeoutMs: number): Uint8Array<SharedArrayBuffer> | null {
    this.#slot = this.#ring.claim();
    if (this.#slot === null && timeoutMs > 0) {
      this.#bell.until(
        () => this.#ring.cancelled ? "cancelled" : this.#slot = this.#ring.claim(),
        timeoutMs,
      );
    }
    if (this.#ring.cancelled) this.#slot = null;
    return this.#slot === null ? null : contentRoom(this.#slot);
  }

  /** Resolves once there is room, or the ring is cancelled: for a thread that must not block. */
  async untilRoom(): Promise<void> {
    await this.#bell.untilAsync(() => this.#ring.cancelled ? true : this.#ring.claim());
  }

  /** Makes a frame of the batch whose bytes were filled in, and hands it to the writer. */
  frame({ phase, sizes, more, length }: BatchShape): void {
    const slot = this.#claimed();
    const { device, begun, compress } = this.#target;
    const content = contentRoom(slot).subarray(0, length);
    const compressed = compress ? compressToFrame(content) : null;
    const smaller = compressed !== null && compressed.length < length;
    const body = smaller ? putCompressed(slot, compressed) : content;
    const head = frameHead(slot, batchHeadSize(sizes.length), body.length, length);
    const now = performance.timeOrigin + performance.now();
    const micros = Math.max(0, Math.round((now - begun) * 1000));
    writeBatchMeta(head, { phase, sizes, more, micros });
    describeFrame(head, { type: FRAME_DATA, flags: smaller ? FRAME_ZSTD : 0, device }, body);
    this.#publish();
  }

  /** Makes a frame of how a phase went in the room that was given, and hands it to the writer. */
  times(times: PhaseTimes): void {
    const packed = packTimeHead(times);
    const head = frameHead(this.#claimed(), packed.length, 0, 0);
    head.set(packed);
    const { device } = this.#target;
    describeFrame(head, { type: FRAME_TIME, flags: FRAME_OPTIONAL, device }, null);
    this.#publish();
  }

  #claimed(): Slot {
    if (this.#slot === null) throw new Error("Cannot make a frame: there is no room for it");
    return this.#slot;
  }

  #publish(): void {
    this.#slot = null;
    this.#ring.publish();
  }
}
