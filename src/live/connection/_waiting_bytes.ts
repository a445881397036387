/**
 * What has come over a connection and was not read yet.
 */

import { freeOwnBuffer } from "../../base/own_buffer.ts";
import type { LiveError } from "../live_error.ts";

/** What waits to be read, in bytes, before the other side is held back. */
const MAX_WAITING = 1 << 20;

/** How what comes is held back. */
export interface Flow {
  pause(): unknown;
  resume(): unknown;
}

/** Bytes in the order in which they came. */
export class WaitingBytes {
  readonly #flow: Flow;
  readonly #chunks: Uint8Array[] = [];
  /** Bytes of the first chunk that were read. */
  #read = 0;
  #bytes = 0;
  #held = false;
  /** Whether nothing more comes. */
  #ended = false;
  #failure: LiveError | null = null;
  /** Wakes who waits for the next bytes. */
  #wake: (() => void)[] = [];

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  /** Takes what has come. Nobody else may use it from now on. */
  take(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (!this.#held && this.#bytes > MAX_WAITING) {
      this.#held = true;
      this.#flow.pause();
    }
    this.#awake();
  }

  /** Nothing more comes: it has ended, or is lost. What came first counts. */
  end(failure: LiveError | null = null): void {
    if (!this.#ended) this.#failure ??= failure;
    this.#ended = true;
    this.#awake();
  }

  /** Reads the next bytes, at least one; 0 at the end. */
  async read(into: Uint8Array): Promise<number> {
    while (this.#chunks.length === 0) {
      if (this.#failure !== null) throw this.#failure;
      if (this.#ended) return 0;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    const first = this.#chunks[0]!;
    const count = Math.min(into.length, first.length - this.#read);
    into.set(first.subarray(this.#read, this.#read + count));
    this.#read += count;
    this.#bytes -= count;
    if (this.#read === first.length) {
      this.#chunks.shift();
      this.#read = 0;
      freeOwnBuffer(first);
    }
    if (this.#held && this.#bytes <= MAX_WAITING) {
      this.#held = false;
      this.#flow.resume();
    }
    return count;
  }

  #awake(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
