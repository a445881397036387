/**
 * A thread that fills rings, or takes from them, and says how it went.
 */

import { Doorbell } from "../../../src/checkpoint/pipeline/doorbell.ts";
import {
  RingConsumer,
  type RingMemory,
  RingProducer,
  type Slot,
} from "../../../src/checkpoint/pipeline/ring.ts";

/** What a thread is told. */
export interface Task {
  /** Which side it is. */
  readonly side: "producer" | "consumer";
  /** The rings, all on the thread's own bell, and a number for each that makes its content. */
  readonly rings: readonly { readonly memory: RingMemory; readonly number: number }[];
  /** How many slots go through each of them. */
  readonly count: number;
}

/** How it went: `over`, `cancelled`, or what was wrong. */
export type Outcome = string;

/** What is in a slot: some length, some bytes, different for each. */
function content(ring: number, sequence: number, room: number): [length: number, byte: number] {
  const mixed = Math.imul(sequence * 31 + ring + 1, 2654435761) >>> 0;
  return [mixed % (room + 1), mixed >>> 24];
}

function fill({ bytes, words }: Slot, ring: number, sequence: number): void {
  const [length, byte] = content(ring, sequence, bytes.length);
  bytes.fill(byte, 0, length);
  words.set([length, sequence]);
}

function check({ bytes, words }: Slot, ring: number, sequence: number): void {
  const [length, byte] = content(ring, sequence, bytes.length);
  if (
    words[0] === length && words[1] === sequence &&
    bytes.subarray(0, length).every((value) => value === byte)
  ) return;
  throw new Error(`ring ${ring} has slot ${words[1]} in place of ${sequence}, or a wrong one`);
}

/** One side of one ring. */
interface Side {
  readonly cancelled: boolean;
  readonly over: boolean;
  /** Moves one slot on; null where none is ready. */
  move(): "moved" | null;
}

class Filling implements Side {
  readonly #ring: RingProducer;
  readonly #number: number;
  readonly #count: number;
  #done = 0;
  over = false;

  constructor(memory: RingMemory, number: number, count: number) {
    this.#ring = new RingProducer(memory);
    this.#number = number;
    this.#count = count;
  }

  get cancelled(): boolean {
    return this.#ring.cancelled;
  }

  move(): "moved" | null {
    const slot = this.#ring.claim();
    if (slot === null) return null;
    fill(slot, this.#number, this.#done++);
    this.#ring.publish();
    if (this.#done === this.#count) {
      this.#ring.end();
      this.over = true;
    }
    return "moved";
  }
}

class Taking implements Side {
  readonly #ring: RingConsumer;
  readonly #number: number;
  readonly #count: number;
  #done = 0;

  constructor(memory: RingMemory, number: number, count: number) {
    this.#ring = new RingConsumer(memory);
    this.#number = number;
    this.#count = count;
  }

  get cancelled(): boolean {
    return this.#ring.cancelled;
  }

  get over(): boolean {
    if (!this.#ring.ended) return false;
    if (this.#done !== this.#count) throw new Error(`ring ${this.#number} ends at ${this.#done}`);
    return true;
  }

  move(): "moved" | null {
    const slot = this.#ring.take();
    if (slot === null) return null;
    check(slot, this.#number, this.#done++);
    this.#ring.release();
    return "moved";
  }
}

/** Goes on with whichever ring is ready, until all are through. */
function work({ side, rings, count }: Task): Outcome {
  const bell = new Doorbell(rings[0]!.memory[side]);
  const Side = side === "producer" ? Filling : Taking;
  const sides = rings.map(({ memory, number }) => new Side(memory, number, count));
  for (;;) {
    const next = bell.until(() => {
      if (sides.some(({ cancelled }) => cancelled)) return "cancelled";
      const left = sides.filter(({ over }) => !over);
      if (left.length === 0) return "over";
      return left.map((one) => one.move()).includes("moved") ? "moved" : null;
    });
    if (next === "over" || next === "cancelled") return next;
  }
}

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<Task>) => void;
  postMessage(outcome: Outcome): void;
};
scope.onmessage = ({ data }): void => {
  try {
    scope.postMessage(work(data));
  } catch (error) {
    scope.postMessage(String(error));
  }
};
