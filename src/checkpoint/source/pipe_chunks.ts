/**
 * A pipe, a socket or a terminal, chunk by chunk.
 *
 * What a pipe holds is read at once, on this thread: to wake another one and to wait for it takes
 * longer than the copy. Only an empty pipe is waited for on another thread.
 */

import { setImmediate } from "node:timers/promises";
import { BATCH_BYTES, recycle, takeBuffer } from "../batches/buffer_pool.ts";
import type { ByteReads } from "./direct_stream.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * A pipe gives less than a buffer at a time; the rest of a buffer is used while it is at least this
 * large.
 */
const WORTH_READING = BATCH_BYTES / 4;

/** After so many milliseconds of reading on this thread the event loop has its turn. */
const TURN_MS = 4;

/** How to read a pipe: some bytes, 0 at the end. */
export interface PipeReads {
  /** Reads what is there already; null for nothing. */
  now(into: Bytes): number | null;
  /** Waits for some, on another thread. */
  later(into: Bytes): Promise<number>;
}

/** Reads a pipe into buffers of the pool. */
export class PipeChunks implements ByteReads {
  readonly #reads: PipeReads;
  readonly #clock: () => number;
  /** When the event loop last had its turn. */
  #turn: number;
  #buffer: Bytes | null = null;

  /** `clock`: milliseconds since any one time. */
  constructor(reads: PipeReads, clock = (): number => performance.now()) {
    this.#reads = reads;
    this.#clock = clock;
    this.#turn = clock();
  }

  async next(): Promise<Bytes | null> {
    const buffer = this.#buffer ?? takeBuffer();
    const count = await this.read(buffer);
    if (count === 0) {
      if (buffer.byteOffset === 0) recycle(buffer.buffer);
      return null;
    }
    this.#buffer = buffer.byteLength - count < WORTH_READING ? null : buffer.subarray(count);
    return buffer.subarray(0, count);
  }

  async read(into: Bytes): Promise<number> {
    if (this.#clock() - this.#turn > TURN_MS) {
      await setImmediate();
      this.#turn = this.#clock();
    }
    const count = this.#reads.now(into);
    if (count !== null) return count;
    const waited = await this.#reads.later(into);
    this.#turn = this.#clock();
    return waited;
  }

  /** Does not wait: a read of a pipe without an active writer may never end. */
  settle(): Promise<void> {
    return Promise.resolve();
  }
}
