/**
 * Counters that two threads see: the engine's writes, the caller reads, and
 * the caller's wish to be served soon goes the other way.
 */

import type { Counters } from "./_engine.ts";
import type { StateName } from "./types.ts";

const STATES: readonly StateName[] = [
  "unknown",
  "stop",
  "running",
  "stop-and-copy",
  "pre-copy",
  "resuming",
  "error",
  "invalid",
  "stop-copy",
  "running-p2p",
  "pre-copy-p2p",
];

/** {@linkcode Counters} in memory that both threads hold. */
export class SharedCounters implements Counters {
  /** The memory, to be sent to the other thread. */
  readonly memory: SharedArrayBuffer;
  readonly #flags: Int32Array;
  readonly #numbers: Float64Array;

  /** New counters, or another thread's. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(32)) {
    this.memory = memory;
    this.#flags = new Int32Array(memory, 0, 2);
    this.#numbers = new Float64Array(memory, 8, 3);
  }

  get interrupted(): boolean {
    return Atomics.load(this.#flags, 0) !== 0;
  }

  set interrupted(value: boolean) {
    Atomics.store(this.#flags, 0, value ? 1 : 0);
  }

  get state(): StateName {
    return STATES[Atomics.load(this.#flags, 1)] ?? "unknown";
  }

  set state(value: StateName) {
    Atomics.store(this.#flags, 1, STATES.indexOf(value));
  }

  get pendingBytes(): number {
    return this.#numbers[0]!;
  }

  set pendingBytes(value: number) {
    this.#numbers[0] = value;
  }

  get bytes(): number {
    return this.#numbers[1]!;
  }

  set bytes(value: number) {
    this.#numbers[1] = value;
  }

  get transactions(): number {
    return this.#numbers[2]!;
  }

  set transactions(value: number) {
    this.#numbers[2] = value;
  }
}
