/**
 * The frames of several rings as those of one checkpoint.
 */

import { createHash, type Hash } from "node:crypto";
import { parseBatchMeta } from "../frames/data_frame.ts";
import { frameType } from "../frames/frame_writer.ts";
import { FrameSequence } from "../frames/frame_sequence.ts";
import type { CheckpointHeader } from "../metadata/header.ts";
import { FRAME_DATA, FRAME_HEADER_SIZE } from "../frames/constants.ts";
import { slotFrame } from "./_frame_slot.ts";
import { RingConsumer, type RingMemory } from "./ring.ts";

/** A checkpoint that is to be written out of rings. */
export interface CheckpointContent {
  /** Its header. */
  readonly header: CheckpointHeader;
  /** The digest that its trailer carries; null for none. */
  readonly digest: "sha256" | null;
  /** The ring of each device, in the order of the header; all on one consumer's bell. */
  readonly rings: readonly RingMemory[];
}

/**
 * Takes frames out of the rings of the devices, in turns where several are
 * ready, and gives each its place in the checkpoint: its number, and the chain
 * that ties it to all frames before it, whichever device they are of.
 */
export class Multiplexer {
  readonly #rings: readonly RingConsumer[];
  readonly #frames: FrameSequence;
  readonly #hash: Hash | null;
  /** The ring that is looked at first. */
  #turn = 0;

  /**
   * Checks the header.
   *
   * @throws {TypeError} If a field of the header is not what the format allows.
   */
  constructor({ header, digest, rings }: CheckpointContent) {
    this.#rings = rings.map((memory) => new RingConsumer(memory));
    this.#frames = new FrameSequence(header, { digest });
    this.#hash = digest === null ? null : createHash(digest);
  }

  /** Bytes of the checkpoint so far. */
  get storedBytes(): number {
    return this.#frames.storedBytes;
  }

  /** Whether any of the devices gives no more, and what it gave does not count. */
  get cancelled(): boolean {
    return this.#rings.some((ring) => ring.cancelled);
  }

  /** The first bytes. Called once, first. */
  begin(): readonly Uint8Array[] {
    return this.#frames.begin();
  }

  /**
   * The next frame of the checkpoint, to be written; it stays where it is until
   * {@linkcode Multiplexer.release}.
   *
   * @returns `ended` once all devices have given all; null if no frame is ready.
   */
  next(): Uint8Array<SharedArrayBuffer> | "ended" | "cancelled" | null {
    if (this.cancelled) return "cancelled";
    for (let looked = 0; looked < this.#rings.length; looked++) {
      const device = (this.#turn + looked) % this.#rings.length;
      const slot = this.#rings[device]!.take();
      if (slot === null) continue;
      this.#turn = device;
      const { head, body, bytes, content } = slotFrame(slot);
      if (frameType(head) === FRAME_DATA) {
        const meta = parseBatchMeta(head.subarray(FRAME_HEADER_SIZE));
        if (typeof meta === "string") throw new Error(`Cannot write a frame: ${meta}`);
        this.#frames.count({ device, ...meta });
        this.#hash?.update(content);
      }
      this.#frames.place(head, body.length);
      return bytes;
    }
    return this.#rings.every((ring) => ring.ended) ? "ended" : null;
  }

  /** The frame that {@linkcode Multiplexer.next} gave was written; it is the next ring's turn. */
  release(): void {
    this.#rings[this.#turn]!.release();
    this.#turn = (this.#turn + 1) % this.#rings.length;
  }

  /** The last bytes. Called once, last. */
  end(): Uint8Array {
    return this.#frames.end(this.#hash === null ? null : this.#hash.digest("hex"));
  }

  /** Tells all devices to give no more. */
  cancel(): void {
    for (const ring of this.#rings) ring.cancel();
  }
}
