/**
 * The frames of several rings as those of one checkpoint.
 */

import { parseBatchMeta } from "../frames/data_frame.ts";
import type { FrameSequence } from "../frames/frame_sequence.ts";
import { FRAME_HEADER_SIZE } from "../frames/constants.ts";
import { slotFrame } from "./_frame_slot.ts";
import { RingConsumer, type RingMemory } from "./ring.ts";

/**
 * Takes frames out of the rings of the devices, in turns where several are
 * ready, and gives each its place in the checkpoint: its number, and the chain
 * that ties it to all frames before it, whichever device they are of.
 */
export class Multiplexer {
  readonly #rings: readonly RingConsumer[];
  readonly #frames: FrameSequence;
  /** The ring that is looked at first. */
  #turn = 0;

  /** A ring for each device, in the order of their numbers. */
  constructor(rings: readonly RingMemory[], frames: FrameSequence) {
    this.#rings = rings.map((memory) => new RingConsumer(memory));
    this.#frames = frames;
  }

  /** Whether any of the devices gives no more, and what it gave does not count. */
  get cancelled(): boolean {
    return this.#rings.some((ring) => ring.cancelled);
  }

  /** Whether all devices have given all, and all of it was released. */
  get ended(): boolean {
    return this.#rings.every((ring) => ring.ended);
  }

  /**
   * The next frame of the checkpoint, to be written; it stays where it is until
   * {@linkcode Multiplexer.release}. Null where none is ready.
   */
  next(): Uint8Array<SharedArrayBuffer> | null {
    for (let looked = 0; looked < this.#rings.length; looked++) {
      const device = (this.#turn + looked) % this.#rings.length;
      const slot = this.#rings[device]!.take();
      if (slot === null) continue;
      this.#turn = device;
      const { head, body, bytes } = slotFrame(slot);
      const meta = parseBatchMeta(head.subarray(FRAME_HEADER_SIZE));
      if (typeof meta === "string") throw new Error(`Cannot write a frame: ${meta}`);
      this.#frames.count({ device, ...meta });
      this.#frames.place(head, body.length);
      return bytes;
    }
    return null;
  }

  /** The frame that {@linkcode Multiplexer.next} gave was written; it is the next ring's turn. */
  release(): void {
    this.#rings[this.#turn]!.release();
    this.#turn = (this.#turn + 1) % this.#rings.length;
  }

  /** Tells all devices to give no more. */
  cancel(): void {
    for (const ring of this.#rings) ring.cancel();
  }
}
