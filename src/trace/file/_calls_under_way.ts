// The call that each thread of a trace is in, in memory that all threads share: a call that does
// not return gets into the file by another thread.

/** Threads whose calls are kept; later ones have none. */
const THREADS = 64;
/** Bytes of a call's line. */
const TEXT = 504;
/** Bytes of a thread's part: a number that counts up at the begin and end of each call, a length. */
const PART = 8 + TEXT;

/** Bytes of memory for all threads. */
export const UNDER_WAY_BYTES: number = THREADS * PART;

/** A call that has begun. */
export interface UnderWay {
  /** Tells it from the thread's calls before and after it. */
  readonly turn: number;
  /** Its line. */
  readonly line: string;
}

/** The calls of all threads; `at` is where they lie in the memory. */
export class CallsUnderWay {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #encoder = new TextEncoder();

  constructor(memory: SharedArrayBuffer, at: number) {
    this.#words = new Int32Array(memory, at, UNDER_WAY_BYTES / 4);
    this.#bytes = new Uint8Array(memory, at, UNDER_WAY_BYTES);
  }

  #word(thread: number): number {
    return (thread - 1) * PART / 4;
  }

  /** A thread begins a call. A line that does not fit is left out. */
  enter(thread: number, line: string): void {
    if (thread > THREADS || line.length > TEXT) return;
    const word = this.#word(thread);
    const room = this.#bytes.subarray(word * 4 + 8, word * 4 + PART);
    const { read, written } = this.#encoder.encodeInto(line, room);
    if (read < line.length) return;
    this.#words[word + 1] = written;
    Atomics.add(this.#words, word, 1);
  }

  /** The call has returned. */
  leave(thread: number): void {
    if (thread > THREADS) return;
    const word = this.#word(thread);
    if ((this.#words[word]! & 1) !== 0) Atomics.add(this.#words, word, 1);
  }

  /** The call that a thread is in; null if it is in none. */
  of(thread: number): UnderWay | null {
    if (thread > THREADS) return null;
    const word = this.#word(thread);
    const turn = Atomics.load(this.#words, word);
    if ((turn & 1) === 0) return null;
    const begin = word * 4 + 8;
    const line = new TextDecoder().decode(
      this.#bytes.slice(begin, begin + this.#words[word + 1]!),
    );
    // It may have returned, and another one begun, while its line was read.
    return Atomics.load(this.#words, word) === turn ? { turn, line } : null;
  }
}
