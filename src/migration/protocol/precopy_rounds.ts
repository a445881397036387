/**
 * When pre-copy ends.
 */

import type { PrecopyLimits } from "./engine.ts";
import type { PrecopyEnd, PrecopyReport, PrecopyRound } from "../../vfio/state/precopy_report.ts";

/** Consecutive rounds without fewer pending bytes after which pre-copy ends. */
const MAX_STALE_ROUNDS = 2;

/** The most rounds that are kept. */
const MAX_ROUNDS = 1000;

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
  readonly #history: PrecopyRound[] = [];
  #roundBegun: number;
  #ended: PrecopyEnd | null = null;
  /** What the driver said last. */
  #told: number | null = null;

  /** Starts the clock (milliseconds). */
  constructor(limits: PrecopyLimits, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
    this.#begun = now();
    this.#roundBegun = this.#begun;
  }

  /** How it went, once it has ended. */
  report(): PrecopyReport {
    this.#close();
    return { rounds: this.#history, ended: this.#ended ?? "drained", pending: this.#told };
  }

  /** The driver does not tell what is pending. */
  unknown(): void {
    this.#ended = "no-estimate";
  }

  /** Keeps the round under way. */
  #close(): void {
    const now = this.#now();
    if (this.#read > 0 && this.#history.length < MAX_ROUNDS) {
      const pending = Math.max(0, this.#pending);
      const seconds = (now - this.#roundBegun) / 1000;
      this.#history.push({ pending, bytes: this.#read, seconds });
    }
    this.#roundBegun = now;
    this.#read = 0;
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
    this.#close();
    this.#rounds += 1;
    this.#pending = -1;
    this.#stale = 0;
  }

  /**
   * Whether few enough bytes are pending for stop-and-copy: at most the threshold, or readable
   * within the downtime at the measured rate.
   */
  fits(pending: number): boolean {
    this.#told = pending;
    if (pending <= this.#limits.threshold) this.#ended = "threshold";
    else if (this.timed && pending <= this.#withinDowntime()) this.#ended = "downtime";
    else return false;
    return true;
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
    this.#told = pending;
    if (this.#now() - this.#begun >= maxTimeMs) return this.#end("time");
    if (this.#pending >= 0 && this.#read >= this.#pending) {
      this.#rounds += 1;
      this.#stale = pending < this.#pending ? 0 : this.#stale + 1;
    } else if (this.#pending >= 0) {
      return false;
    }
    if (this.#stale === MAX_STALE_ROUNDS) return this.#end("not-converging");
    if (this.#rounds >= maxRounds) return this.#end("rounds");
    this.#close();
    this.#pending = pending;
    return false;
  }

  #end(why: PrecopyEnd): true {
    this.#ended = why;
    return true;
  }
}
