// The call that each thread of a trace is in, in memory that all threads share: a call that does
// not return gets into the file by another thread.

/** Threads whose calls are kept; later ones have none. */
const THREADS = 64;
/** Bytes of a call's fields behind its number and its time. */
const TEXT = 488;
/**
 * Bytes of a thread's part: a number that counts up at the begin and end of each call, the length
 * of the text, the call's number and time as doubles, the text.
 */
const PART = 8 + 16 + TEXT;

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
  readonly #doubles: Float64Array;
  readonly #bytes: Uint8Array;

  constructor(memory: SharedArrayBuffer, at: number) {
    this.#words = new Int32Array(memory, at, UNDER_WAY_BYTES / 4);
    this.#doubles = new Float64Array(memory, at, UNDER_WAY_BYTES / 8);
    this.#bytes = new Uint8Array(memory, at, UNDER_WAY_BYTES);
  }

  /** A thread begins a call; `fields` are those behind its time. Too long ones are left out. */
  enter(thread: number, n: number, time: number, fields: Uint8Array): void {
    if (thread > THREADS || fields.length > TEXT) return;
    const begin = (thread - 1) * PART;
    this.#words[begin / 4 + 1] = fields.length;
    this.#doubles[begin / 8 + 1] = n;
    this.#doubles[begin / 8 + 2] = time;
    this.#bytes.set(fields, begin + PART - TEXT);
    Atomics.add(this.#words, begin / 4, 1);
  }

  /** The call has returned. */
  leave(thread: number): void {
    if (thread > THREADS) return;
    const word = (thread - 1) * PART / 4;
    if ((this.#words[word]! & 1) !== 0) Atomics.add(this.#words, word, 1);
  }

  /** The call that a thread is in; null if it is in none. */
  of(thread: number): UnderWay | null {
    if (thread > THREADS) return null;
    const begin = (thread - 1) * PART;
    const turn = Atomics.load(this.#words, begin / 4);
    if ((turn & 1) === 0) return null;
    const [n, time] = this.#doubles.subarray(begin / 8 + 1);
    const text = begin + PART - TEXT;
    const fields = new TextDecoder().decode(
      this.#bytes.slice(text, text + this.#words[begin / 4 + 1]!),
    );
    // It may have returned, and another one begun, while its line was read.
    if (Atomics.load(this.#words, begin / 4) !== turn) return null;
    const line = `{"type":"begun","thread":${thread},"n":${n},"time":${time},${fields}}`;
    return { turn, line };
  }
}
