/**
 * A batch: transactions one behind the other in one buffer, so that a thread
 * hands over a MiB at a time and not a transaction.
 */

/** Chunks in a batch: no more than a frame of a checkpoint holds. */
export const MAX_CHUNKS = 8192;

/** A filled batch, in memory of one thread or in shared memory. */
export interface FilledBatch<Memory extends ArrayBufferLike = ArrayBufferLike> {
  /** The bytes of all its chunks. */
  readonly bytes: Uint8Array<Memory>;
  /** The length of each chunk, in order. */
  readonly sizes: ArrayLike<number>;
  /** Whether the last chunk's transaction goes on in the next batch. */
  readonly more: boolean;
}

/** A batch's total length. */
export function batchLength(sizes: ArrayLike<number>): number {
  let total = 0;
  for (let index = 0; index < sizes.length; index++) total += sizes[index]!;
  return total;
}

/** Collects chunks into a buffer. */
export class BatchBuilder<Memory extends ArrayBufferLike = ArrayBufferLike> {
  readonly #buffer: Uint8Array<Memory>;
  #used = 0;
  #more = false;
  readonly #sizes: number[] = [];

  /** Collects into the whole of `buffer`. */
  constructor(buffer: Uint8Array<Memory>) {
    this.#buffer = buffer;
  }

  /** Bytes that are still free; 0 too if there are as many chunks as a batch may have. */
  get free(): number {
    return this.#sizes.length < MAX_CHUNKS ? this.#buffer.length - this.#used : 0;
  }

  /** Whether there is no chunk yet. */
  get empty(): boolean {
    return this.#sizes.length === 0;
  }

  /**
   * Room for a chunk of `length` bytes, to be filled at once; it counts only
   * when {@linkcode BatchBuilder.add} says so, a failed read leaves no trace.
   */
  room(length: number): Uint8Array<Memory> {
    return this.#buffer.subarray(this.#used, this.#used + length);
  }

  /** Counts the chunk that was filled in; `more`: its transaction goes on in the next batch. */
  add(length: number, more: boolean): void {
    this.#used += length;
    this.#sizes.push(length);
    this.#more = more;
  }

  /** The batch as it stands. */
  build(): FilledBatch<Memory> {
    return { bytes: this.#buffer.subarray(0, this.#used), sizes: this.#sizes, more: this.#more };
  }
}
