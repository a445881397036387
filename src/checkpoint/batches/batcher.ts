/**
 * Puts transactions that lie one behind the other back into batches.
 */

import type { Transaction } from "./transaction.ts";
import type { Batch } from "./batch.ts";
import { MAX_BODY, MAX_ENTRIES } from "../frames/constants.ts";

/** A batch without the time at which it was full. */
export type OpenBatch = Omit<Batch, "micros">;

/**
 * Collects transactions. A batch ends where the next one lies elsewhere, is of
 * another device or phase, or would be too much for a frame.
 */
export class Batcher {
  readonly #sizes = new Uint32Array(MAX_ENTRIES);
  #count = 0;
  #first: Transaction | null = null;
  #end = 0;
  #more = false;

  /** Takes a transaction; returns the batch that it shows to be complete. */
  add(next: Transaction): OpenBatch | null {
    const first = this.#first;
    const { data } = next;
    if (
      first !== null && data.byteOffset === this.#end && data.buffer === first.data.buffer &&
      next.device === first.device && next.phase === first.phase &&
      data.byteLength <= MAX_BODY - (this.#end - first.data.byteOffset) &&
      (this.#more || this.#count < MAX_ENTRIES)
    ) {
      // Chunks of one transaction that come to lie together are one entry.
      if (this.#more) this.#sizes[this.#count - 1]! += data.byteLength;
      else this.#sizes[this.#count++] = data.byteLength;
      this.#end += data.byteLength;
      this.#more = next.more;
      return null;
    }
    const done = this.take();
    this.#first = next;
    this.#sizes[0] = data.byteLength;
    this.#count = 1;
    this.#end = data.byteOffset + data.byteLength;
    this.#more = next.more;
    return done;
  }

  /** Whether the buffer is used up, so that nothing can follow. */
  get full(): boolean {
    return this.#first !== null && this.#end === this.#first.data.buffer.byteLength;
  }

  /** The batch as it stands; null if there is none. */
  take(): OpenBatch | null {
    const first = this.#first;
    if (first === null) return null;
    this.#first = null;
    const { device, phase, data } = first;
    return {
      device,
      phase,
      sizes: this.#sizes.slice(0, this.#count),
      more: this.#more,
      bytes: new Uint8Array(data.buffer, data.byteOffset, this.#end - data.byteOffset),
    };
  }
}
