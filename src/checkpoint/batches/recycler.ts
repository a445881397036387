/**
 * Gives the pool's buffers back, each once all chunks that lie in it are done with.
 */

import { isPooled, recycle } from "./buffer_pool.ts";

/**
 * Follows chunks in the order of a stream. Chunks of one buffer come one after
 * the other, so a buffer is done with when a chunk of another one comes.
 */
export class Recycler {
  readonly #enabled: boolean;
  #buffer: ArrayBuffer | null = null;

  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  /** A chunk in this buffer is done with. Buffers that are not the pool's do not count. */
  done(buffer: ArrayBuffer): void {
    if (!this.#enabled || buffer === this.#buffer || !isPooled(buffer)) return;
    this.end();
    this.#buffer = buffer;
  }

  /** No more chunks come. */
  end(): void {
    if (this.#buffer !== null) recycle(this.#buffer);
    this.#buffer = null;
  }
}
