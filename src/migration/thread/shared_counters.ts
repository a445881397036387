/**
 * Counters that two threads see: the engine's writes, the caller reads, and
 * the caller's wish to be served soon goes the other way.
 */

import type { Counters } from "../protocol/engine.ts";
import type { StateName } from "../../vfio/state/states.ts";

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

/** Fds that a device can own: its own, group, container, iommufd. */
const MAX_FDS = 4;

/** {@linkcode Counters} in memory that both threads hold. */
export class SharedCounters implements Counters {
  /** The memory, to be sent to the other thread. */
  readonly memory: SharedArrayBuffer;
  readonly #flags: Int32Array;
  readonly #numbers: Float64Array;
  /** How many fds there are, and they. */
  readonly #fds: Int32Array;

  /** New counters, or another thread's. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(32 + 4 * (1 + MAX_FDS))) {
    this.memory = memory;
    this.#flags = new Int32Array(memory, 0, 2);
    this.#numbers = new Float64Array(memory, 8, 3);
    this.#fds = new Int32Array(memory, 32, 1 + MAX_FDS);
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

  /** The fds of this process that the thread has to close. */
  set ownedFds(fds: readonly number[]) {
    this.#fds.set(fds, 1);
    Atomics.store(this.#fds, 0, fds.length);
  }

  /** Those that it has not closed; they are the caller's then. */
  takeOwnedFds(): readonly number[] {
    const count = Atomics.exchange(this.#fds, 0, 0);
    return [...this.#fds.subarray(1, 1 + count)];
  }
}
