/**
 * When pre-copy ends.
 */

import type { PrecopyLimits } from "./engine.ts";

/** Consecutive rounds without fewer pending bytes after which pre-copy ends. */
const MAX_STALE_ROUNDS = 2;

/** Counts rounds: one is over when as many bytes were read as were pending at its start. */
export class Rounds {
  readonly #limits: PrecopyLimits;
  readonly #now: () => number;
  readonly #begun: number;
  #rounds = 0;
  #pending = -1;
  /** Bytes read in this round, and in all. */
  #read = 0;
  #total = 0;
  #stale = 0;

  /** Starts the clock (milliseconds). */
  constructor(limits: PrecopyLimits, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
    this.#begun = now();
  }

  /** Counts bytes that were read. */
  read(bytes: number): void {
    this.#read += bytes;
    this.#total += bytes;
  }

  /** Whether it matters how long stop-and-copy will take. */
  get timed(): boolean {
    return this.#limits.downtimeMs > 0;
  }

  /** The earlier pending bytes no longer count: the driver has started anew. Counts as a round. */
  restart(): void {
    this.#rounds += 1;
    this.#pending = -1;
    this.#read = 0;
    this.#stale = 0;
  }

  /**
   * Whether few enough bytes are pending for stop-and-copy: at most the threshold, or readable
   * within the downtime at the measured rate.
   */
  fits(pending: number): boolean {
    return pending <= this.#limits.threshold || (this.timed && pending <= this.#withinDowntime());
  }

  /** Bytes that can be read within the downtime; 0 while no rate is known. */
  #withinDowntime(): number {
    const elapsed = this.#now() - this.#begun;
    return elapsed > 0 ? this.#total / elapsed * this.#limits.downtimeMs : 0;
  }

  /**
   * Whether more rounds would not help: a limit of rounds or time is reached, or the device is
   * faster.
   */
  exhausted(pending: number): boolean {
    const { maxRounds, maxTimeMs } = this.#limits;
    if (this.#now() - this.#begun >= maxTimeMs) return true;
    if (this.#pending >= 0 && this.#read >= this.#pending) {
      this.#rounds += 1;
      this.#stale = pending < this.#pending ? 0 : this.#stale + 1;
    } else if (this.#pending >= 0) {
      return false;
    }
    if (this.#stale === MAX_STALE_ROUNDS || this.#rounds >= maxRounds) return true;
    this.#pending = pending;
    this.#read = 0;
    return false;
  }
}
