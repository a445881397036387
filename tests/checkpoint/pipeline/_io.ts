/**
 * The devices' ends of a save and a restore, without devices.
 */

import { Doorbell } from "../../../src/checkpoint/pipeline/doorbell.ts";
import { FrameConsumer } from "../../../src/checkpoint/pipeline/frame_consumer.ts";
import { FrameProducer } from "../../../src/checkpoint/pipeline/frame_producer.ts";
import {
  COMPRESSED_SLOT_BYTES,
  FRAME_SLOT_BYTES,
} from "../../../src/checkpoint/pipeline/_frame_slot.ts";
import { endRings } from "../../../src/checkpoint/pipeline/rings.ts";
import { type RingMemory, ringMemory } from "../../../src/checkpoint/pipeline/ring.ts";
import type { Phase } from "../../../src/checkpoint/batches/transaction.ts";

/** What one frame holds. */
export interface Content {
  readonly phase: Phase;
  readonly sizes: readonly number[];
  readonly more: boolean;
  /** The byte that all of it is made of. */
  readonly fill: number;
}

/** Rings from so many devices to one writer. */
export function savingRings(devices: number, slots: number, compress = false): RingMemory[] {
  const writer = new Doorbell();
  const slotBytes = compress ? COMPRESSED_SLOT_BYTES : FRAME_SLOT_BYTES;
  return Array.from(
    { length: devices },
    () => ringMemory({ slots, slotBytes }, new Doorbell(), writer),
  );
}

/** Rings from one reader to so many devices. */
export function restoringRings(devices: number, slots: number): RingMemory[] {
  const reader = new Doorbell();
  return Array.from(
    { length: devices },
    () => ringMemory({ slots, slotBytes: FRAME_SLOT_BYTES }, reader, new Doorbell()),
  );
}

/** One device that gives these frames; `give` gives the next and returns whether it could. */
export class Giving {
  readonly #producer: FrameProducer;
  readonly #left: Content[];
  readonly #memory: RingMemory;

  constructor(
    memory: RingMemory,
    device: number,
    frames: readonly Content[],
    compress = false,
  ) {
    this.#memory = memory;
    this.#producer = new FrameProducer({ ring: memory, device, begun: Date.now(), compress });
    this.#left = [...frames];
  }

  get cancelled(): boolean {
    return this.#producer.cancelled;
  }

  get over(): boolean {
    return this.#left.length === 0;
  }

  give(timeoutMs = 60_000): boolean {
    const room = this.#producer.room(timeoutMs);
    if (room === null) return false;
    const { phase, sizes, more, fill } = this.#left.shift()!;
    const length = sizes.reduce((sum, size) => sum + size, 0);
    room.fill(fill, 0, length);
    this.#producer.frame({ phase, sizes, more, length });
    if (this.#left.length === 0) endRings([this.#memory]);
    return true;
  }
}

/** All that comes to a device: its transactions, and how it ended. */
export function takeAll(
  memory: RingMemory,
): { readonly transactions: Uint8Array[]; readonly ended: string } {
  const consumer = new FrameConsumer(memory);
  const transactions: Uint8Array[] = [];
  let open: Uint8Array[] = [];
  for (;;) {
    const batch = consumer.batch(60_000);
    if (batch === null) throw new Error("Nothing came");
    if (typeof batch === "string") return { transactions, ended: batch };
    let at = 0;
    batch.sizes.forEach((size, index) => {
      open.push(batch.bytes.slice(at, at + size));
      at += size;
      if (batch.more && index === batch.sizes.length - 1) return;
      transactions.push(concat(open));
      open = [];
    });
    consumer.release();
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
