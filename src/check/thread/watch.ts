/**
 * What the caller's thread and the thread that checks share: whether to stop, and the call that is
 * under way, so that a check which hangs in the kernel can be reported with the call.
 */

const TEXT_BYTES = 512;
const INTERRUPTED = 0;
/** Counts up at the begin and at the end of each call. */
const TURN = 1;
const LENGTH = 2;
const WORDS = 3;

/** The memory that two threads share. */
export class Watch {
  /** The memory itself, to be sent to the other thread. */
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #text: Uint8Array;

  /** Uses memory that another thread sent, or makes some. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(4 * WORDS + TEXT_BYTES)) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, WORDS);
    this.#text = new Uint8Array(memory, 4 * WORDS);
  }

  /** Whether the check under way is to end. */
  get interrupted(): boolean {
    return Atomics.load(this.#words, INTERRUPTED) !== 0;
  }

  set interrupted(value: boolean) {
    Atomics.store(this.#words, INTERRUPTED, value ? 1 : 0);
  }

  /** A number that changes with each call; as long as it is the same, the same call is under way. */
  get turn(): number {
    return Atomics.load(this.#words, TURN);
  }

  /** The call that is under way; empty if none is. */
  get where(): string {
    return new TextDecoder().decode(this.#text.slice(0, Atomics.load(this.#words, LENGTH)));
  }

  /** A call begins. */
  enter(call: string): void {
    const { written } = new TextEncoder().encodeInto(call, this.#text);
    Atomics.store(this.#words, LENGTH, written);
    Atomics.add(this.#words, TURN, 1);
  }

  /** The call has ended. */
  leave(): void {
    Atomics.store(this.#words, LENGTH, 0);
    Atomics.add(this.#words, TURN, 1);
  }
}
