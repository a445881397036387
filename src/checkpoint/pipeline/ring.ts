/**
 * A ring of slots in shared memory: one thread fills them, one other takes
 * them, in order, and no byte is copied on the way.
 *
 *     producer   claim ─▶ fill ─▶ publish          end   cancel
 *     consumer                    take ─▶ use ─▶ release  cancel
 *
 * Whoever finds nothing to do waits at its own {@linkcode Doorbell}, which the
 * other side rings. A ring ends once its producer has published all there is;
 * it is cancelled by whichever side can't go on, and then nothing that is left
 * in it counts.
 */

import { Doorbell } from "./doorbell.ts";

/** 32-bit words in front of the slots' descriptions. */
const PUBLISHED = 0;
const RELEASED = 1;
const STATE = 2;
const CONTROL_WORDS = 4;

const OPEN = 0;
const ENDED = 1;
const CANCELLED = 2;

/** Words that describe what is in a slot; producer and consumer agree on what they mean. */
export const SLOT_WORDS = 4;

/** A ring's memory, as it is posted to the two threads. */
export interface RingMemory {
  /** The control words, and the description of each slot. */
  readonly control: SharedArrayBuffer;
  /** The slots, one behind the other. */
  readonly slots: SharedArrayBuffer;
  /** The {@linkcode Doorbell} of the thread that fills the slots. */
  readonly producer: SharedArrayBuffer;
  /** The {@linkcode Doorbell} of the thread that takes them. */
  readonly consumer: SharedArrayBuffer;
}

/** Memory that one thread fills and the other takes. */
export interface Slot {
  /** Its bytes. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** The {@linkcode SLOT_WORDS} words that describe them. */
  readonly words: Int32Array<SharedArrayBuffer>;
}

/** The slots of a ring. */
export interface RingSlots {
  /** How many: a power of two, so that counters may wrap. */
  readonly slots: number;
  /** The size of each in bytes. */
  readonly slotBytes: number;
  /** Their memory, which nothing uses any more; default: new. */
  readonly memory?: SharedArrayBuffer | undefined;
}

/**
 * Makes the memory of a ring.
 *
 * @param producer The bell of the thread that will fill them.
 * @param consumer The bell of the thread that will take them: one for all of its rings.
 * @throws {RangeError} If there is no slot, or no byte in it, or the slots are no power of two.
 */
export function ringMemory(
  { slots, slotBytes, memory }: RingSlots,
  producer: Doorbell,
  consumer: Doorbell,
): RingMemory {
  if (
    !Number.isSafeInteger(slots) || slots < 1 || (slots & (slots - 1)) !== 0 ||
    !Number.isSafeInteger(slotBytes) || slotBytes < 1
  ) {
    throw new RangeError(`Cannot make a ring of ${slots} slots of ${slotBytes} bytes`);
  }
  return {
    control: new SharedArrayBuffer(4 * (CONTROL_WORDS + slots * SLOT_WORDS)),
    slots: memory ?? new SharedArrayBuffer(slots * slotBytes),
    producer: producer.memory,
    consumer: consumer.memory,
  };
}

/** What both sides of a ring have. */
abstract class RingSide {
  /** The control words. */
  protected readonly control: Int32Array<SharedArrayBuffer>;
  readonly #slots: readonly Slot[];
  readonly #producer: Doorbell;
  readonly #consumer: Doorbell;

  constructor(memory: RingMemory) {
    this.control = new Int32Array(memory.control, 0, CONTROL_WORDS);
    this.#producer = new Doorbell(memory.producer);
    this.#consumer = new Doorbell(memory.consumer);
    const words = new Int32Array(memory.control, 4 * CONTROL_WORDS);
    const count = words.length / SLOT_WORDS;
    const slotBytes = memory.slots.byteLength / count;
    // Views made once: none is made for each slot that goes by.
    this.#slots = Array.from({ length: count }, (_, index) => ({
      bytes: new Uint8Array(memory.slots, index * slotBytes, slotBytes),
      words: words.subarray(index * SLOT_WORDS, (index + 1) * SLOT_WORDS),
    }));
  }

  /** Whether either side has given up. */
  get cancelled(): boolean {
    return Atomics.load(this.control, STATE) === CANCELLED;
  }

  /** Gives up, and tells both sides. Nothing that is in the ring counts any more. */
  cancel(): void {
    Atomics.store(this.control, STATE, CANCELLED);
    this.#producer.ring();
    this.#consumer.ring();
  }

  /** Slots that are published and not released. Counters wrap at 2^32; their difference does not. */
  protected get filled(): number {
    return (Atomics.load(this.control, PUBLISHED) - Atomics.load(this.control, RELEASED)) >>> 0;
  }

  /** How many slots there are. */
  protected get size(): number {
    return this.#slots.length;
  }

  /** The slot that a counter stands at. Both sides keep no place of their own beside the counters. */
  protected slot(counter: typeof PUBLISHED | typeof RELEASED): Slot {
    return this.#slots[(Atomics.load(this.control, counter) >>> 0) % this.size]!;
  }

  /** Counts one on, and tells the other side. */
  protected advance(counter: typeof PUBLISHED | typeof RELEASED): void {
    Atomics.add(this.control, counter, 1);
    (counter === PUBLISHED ? this.#consumer : this.#producer).ring();
  }

  /** Changes the state from open; a ring that was cancelled stays so. */
  protected close(): void {
    Atomics.compareExchange(this.control, STATE, OPEN, ENDED);
    this.#consumer.ring();
  }
}

/** The side that fills slots. It belongs to one thread at a time. */
export class RingProducer extends RingSide {
  /** The next slot to fill; the same until it is published. Null while all of them are full. */
  claim(): Slot | null {
    return this.filled < this.size ? this.slot(PUBLISHED) : null;
  }

  /** Gives the claimed slot to the consumer; its bytes and words must not be touched any more. */
  publish(): void {
    if (this.filled === this.size) throw new Error("Cannot publish a slot: all are full");
    this.advance(PUBLISHED);
  }

  /** No more comes. */
  end(): void {
    this.close();
  }
}

/** The side that takes slots. It belongs to one thread at a time. */
export class RingConsumer extends RingSide {
  /** The oldest published slot; the same until it is released. Null while there is none. */
  take(): Slot | null {
    return this.filled > 0 ? this.slot(RELEASED) : null;
  }

  /** Gives the slot back to the producer; its bytes and words must not be touched any more. */
  release(): void {
    if (this.filled === 0) throw new Error("Cannot release a slot: none is taken");
    this.advance(RELEASED);
  }

  /** Whether the producer has ended the ring and all of it was released. */
  get ended(): boolean {
    // In this order: what is published before the end is seen once the end is.
    return Atomics.load(this.control, STATE) === ENDED && this.filled === 0;
  }
}
