/**
 * The frames of one checkpoint, each to the ring of its device.
 */

import { VfiokitError } from "../../base/vfiokit_error.ts";
import { batchHeadSize, writeBatchMeta } from "../frames/data_frame.ts";
import type { Batch } from "../batches/batch.ts";
import { MAX_CHUNKS } from "../batches/batch_builder.ts";
import type { Doorbell } from "./doorbell.ts";
import { bodyRoom, headRoom, setFrame } from "./_frame_slot.ts";
import { type RingMemory, RingProducer, type Slot } from "./ring.ts";

/** Thrown where a device takes no more: what is left need not be read. */
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

  #slot(device: number): Slot {
    const ring = this.#rings[device]!;
    const slot = this.#bell.until(() => this.cancelled ? "cancelled" : ring.claim());
    if (slot === null || slot === "cancelled") {
      throw new DeviceCancelled("Cannot take more: the device has ended");
    }
    return slot;
  }

  /**
   * Waits for room for a body of a device.
   *
   * @returns Null where a slot is too small for it or for its transactions, or there is no such device.
   * @throws {DeviceCancelled} If a device takes no more.
   */
  room(
    device: number,
    transactions: number,
    length: number,
  ): Uint8Array<SharedArrayBuffer> | null {
    if (device >= this.#rings.length || transactions > MAX_CHUNKS) return null;
    const room = bodyRoom(this.#slot(device));
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
    } else {
      this.#copy(batch);
    }
  }

  #copy(batch: Batch): void {
    const { device, sizes, bytes } = batch;
    let at = 0;
    // The transaction that is next, and how much of it is copied.
    let index = 0;
    let copied = 0;
    while (index < sizes.length) {
      const slot = this.#slot(device);
      const room = bodyRoom(slot);
      const parts: number[] = [];
      let length = 0;
      while (index < sizes.length && parts.length < MAX_CHUNKS && length < room.length) {
        const part = Math.min(sizes[index]! - copied, room.length - length);
        parts.push(part);
        length += part;
        copied += part;
        if (copied < sizes[index]!) break;
        index += 1;
        copied = 0;
      }
      room.set(bytes.subarray(at, at + length));
      at += length;
      const more = copied > 0 || (index === sizes.length && batch.more);
      this.#publish(slot, { ...batch, sizes: parts, more }, length);
    }
  }

  #publish(slot: Slot, batch: Omit<Batch, "bytes">, length: number): void {
    const headLength = batchHeadSize(batch.sizes.length);
    writeBatchMeta(headRoom(slot, headLength), batch);
    setFrame(slot, headLength, length);
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
