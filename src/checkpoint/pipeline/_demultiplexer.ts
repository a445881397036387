/**
 * The frames of one checkpoint, each to the ring of its device.
 */

import { VfiokitError } from "../../base/vfiokit_error.ts";
import { batchHeadSize, writeBatchMeta } from "../frames/data_frame.ts";
import type { Batch } from "../batches/batch.ts";
import { MAX_CHUNKS } from "../batches/batch_builder.ts";
import type { Doorbell } from "./doorbell.ts";
import { contentRoom, frameHead } from "./_frame_slot.ts";
import { type RingMemory, RingProducer, type Slot } from "./ring.ts";

/** Thrown if a device takes no more: what is left need not be read. */
export class DeviceCancelled extends VfiokitError {
  /** Always `DeviceCancelled`. */
  override readonly name = "DeviceCancelled";
  /** Always `device-cancelled`. */
  readonly code = "device-cancelled" as const;
}

/**
 * Hands batches to the rings of their devices. A frame's body is read to where
 * its device takes it: {@linkcode Demultiplexer.room} waits for a slot, which
 * keeps the reader no further ahead than the rings have slots.
 */
export class Demultiplexer {
  readonly #rings: readonly RingProducer[];
  readonly #bell: Doorbell;

  /** A ring for each device, in the order of their numbers; `bell` is this thread's. */
  constructor(rings: readonly RingMemory[], bell: Doorbell) {
    this.#rings = rings.map((memory) => new RingProducer(memory));
    this.#bell = bell;
  }

  /** Whether any of the devices takes no more. */
  get cancelled(): boolean {
    return this.#rings.some((ring) => ring.cancelled);
  }

  /** The next slot of a device, `cancelled`, or null while all of them are full. */
  #claim(device: number): Slot | "cancelled" | null {
    return this.cancelled ? "cancelled" : this.#rings[device]!.claim();
  }

  #slot(device: number): Slot {
    return taken(this.#bell.until(() => this.#claim(device)));
  }

  /**
   * Waits for room for a body of a device.
   *
   * @returns Null if a slot is too small for it or for its transactions, or there is no such device.
   * @throws {DeviceCancelled} If a device takes no more.
   */
  room(
    device: number,
    transactions: number,
    length: number,
  ): Uint8Array<SharedArrayBuffer> | null {
    if (device >= this.#rings.length || transactions > MAX_CHUNKS) return null;
    const room = contentRoom(this.#slot(device));
    return length <= room.length ? room.subarray(0, length) : null;
  }

  /**
   * Hands over a batch that has been checked. One that does not lie in the room of its device is
   * copied, in as many parts as that takes.
   *
   * @throws {DeviceCancelled} If a device takes no more.
   */
  batch(batch: Batch): void {
    const slot = this.#slot(batch.device);
    if (batch.bytes.buffer as ArrayBufferLike === slot.bytes.buffer) {
      this.#publish(slot, batch, batch.bytes.length);
      return;
    }
    for (const parts = new BatchParts(batch); !parts.over;) {
      this.#copy(this.#slot(batch.device), parts);
    }
  }

  /**
   * The same for a thread that must not block; the batch is always copied.
   *
   * @throws {DeviceCancelled} If a device takes no more.
   */
  async copy(batch: Batch): Promise<void> {
    for (const parts = new BatchParts(batch); !parts.over;) {
      this.#copy(taken(await this.#bell.untilAsync(() => this.#claim(batch.device))), parts);
    }
  }

  #copy(slot: Slot, parts: BatchParts): void {
    const { batch, length } = parts.next(contentRoom(slot));
    this.#publish(slot, batch, length);
  }

  #publish(slot: Slot, batch: Omit<Batch, "bytes">, length: number): void {
    const head = frameHead(slot, batchHeadSize(batch.sizes.length), length, length);
    writeBatchMeta(head, batch);
    this.#rings[batch.device]!.publish();
  }

  /** The checkpoint as a whole is right: no more comes. */
  end(): void {
    for (const ring of this.#rings) ring.end();
  }

  /** What is in the rings must not be used any more. */
  cancel(): void {
    for (const ring of this.#rings) ring.cancel();
  }
}

function taken(slot: Slot | "cancelled" | null): Slot {
  if (slot === null || slot === "cancelled") {
    throw new DeviceCancelled("Cannot take more: the device has ended");
  }
  return slot;
}

/** A batch in parts that each fit a slot. */
class BatchParts {
  readonly #batch: Batch;
  #at = 0;
  /** The transaction that is next, and how much of it is copied. */
  #index = 0;
  #copied = 0;

  constructor(batch: Batch) {
    this.#batch = batch;
  }

  /** Whether all of it is copied. */
  get over(): boolean {
    return this.#index === this.#batch.sizes.length;
  }

  /** Copies the next part into `room`; returns what it is, and its length. */
  next(room: Uint8Array): { readonly batch: Omit<Batch, "bytes">; readonly length: number } {
    const { sizes, bytes } = this.#batch;
    const parts: number[] = [];
    let length = 0;
    while (!this.over && parts.length < MAX_CHUNKS && length < room.length) {
      const part = Math.min(sizes[this.#index]! - this.#copied, room.length - length);
      parts.push(part);
      length += part;
      this.#copied += part;
      if (this.#copied < sizes[this.#index]!) break;
      this.#index += 1;
      this.#copied = 0;
    }
    room.set(bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    const more = this.#copied > 0 || (this.over && this.#batch.more);
    return { batch: { ...this.#batch, sizes: parts, more }, length };
  }
}
