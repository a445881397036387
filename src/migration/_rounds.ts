/**
 * When pre-copy ends.
 */

import type { PrecopyLimits } from "./_engine.ts";

/** Rounds in a row that did not shrink what is pending before pre-copy ends. */
const MAX_STALE_ROUNDS = 2;

/** Counts rounds: one is over when as many bytes were read as were pending at its start. */
export class Rounds {
  readonly #limits: PrecopyLimits;
  readonly #until: number;
  #rounds = 0;
  #pending = -1;
  #read = 0;
  #stale = 0;

  /** The clock starts now. */
  constructor(limits: PrecopyLimits) {
    this.#limits = limits;
    this.#until = performance.now() + limits.maxTimeMs;
  }

  /** Counts bytes that were read. */
  read(bytes: number): void {
    this.#read += bytes;
  }

  /** Whether so few bytes are pending that stop-and-copy may have them. */
  fits(pending: number): boolean {
    return pending <= this.#limits.threshold;
  }

  /** Whether going on would not help: out of rounds, out of time, or the device is faster. */
  exhausted(pending: number): boolean {
    if (performance.now() >= this.#until) return true;
    if (this.#pending >= 0 && this.#read < this.#pending) return false;
    if (this.#pending >= 0) {
      this.#rounds += 1;
      this.#stale = pending < this.#pending ? 0 : this.#stale + 1;
      if (this.#stale === MAX_STALE_ROUNDS || this.#rounds >= this.#limits.maxRounds) return true;
    }
    this.#pending = pending;
    this.#read = 0;
    return false;
  }
}
