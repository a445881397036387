/**
 * Counters that two threads see: the engine's writes, the caller reads, and
 * the caller's wish to be served soon goes the other way.
 */

import type { Counters } from "../protocol/engine.ts";
import { StateTimes } from "../protocol/state_times.ts";
import { type StateName, STATES } from "../../vfio/state/states.ts";

/**
 * Fds that a device can own: its own, group, container, iommufd, memory; and the one for v2's data.
 */
const MAX_FDS = 6;
const DATA_FD = MAX_FDS - 1;

/** {@linkcode Counters} in memory that both threads hold. */
export class SharedCounters implements Counters {
  /** The memory, to be sent to the other thread. */
  readonly memory: SharedArrayBuffer;
  /** When the state changed, as far as this thread set it. */
  readonly times: StateTimes = new StateTimes();
  readonly #flags: Int32Array;
  readonly #numbers: Float64Array;
  /** Each fd plus 1; 0 for none. */
  readonly #fds: Int32Array;
  /** Whether the fds are of this process. */
  #ownsFds = false;

  /** New counters, or another thread's. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(32 + 4 * MAX_FDS)) {
    this.memory = memory;
    this.#flags = new Int32Array(memory, 0, 2);
    this.#numbers = new Float64Array(memory, 8, 3);
    this.#fds = new Int32Array(memory, 32, MAX_FDS);
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
    this.times.state(value);
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
    if (value > 0) this.times.moved();
    this.#numbers[1] = value;
  }

  get transactions(): number {
    return this.#numbers[2]!;
  }

  set transactions(value: number) {
    this.#numbers[2] = value;
  }

  /** The fds of this process that the thread has to close, but for the one for v2's data. */
  set ownedFds(fds: readonly number[]) {
    this.#ownsFds = true;
    for (const [place, fd] of fds.entries()) Atomics.store(this.#fds, place, fd + 1);
  }

  get dataFd(): number | null {
    const stored = Atomics.load(this.#fds, DATA_FD);
    return stored === 0 ? null : stored - 1;
  }

  set dataFd(fd: number | null) {
    if (this.#ownsFds) Atomics.store(this.#fds, DATA_FD, fd === null ? 0 : fd + 1);
  }

  /** Those that it has not closed; they are the caller's then. */
  takeOwnedFds(): readonly number[] {
    return [...this.#fds.keys()]
      .map((place) => Atomics.exchange(this.#fds, place, 0))
      .flatMap((stored) => stored === 0 ? [] : [stored - 1]);
  }
}
