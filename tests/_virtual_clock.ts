/** Time that passes only while this thread sleeps: no sleep takes any real time. */

/** Replaces `performance.now` and the timed waits of this thread until it is disposed. */
export class VirtualClock implements Disposable {
  /** How long each sleep was, in milliseconds. */
  readonly naps: number[] = [];
  readonly #now = performance.now;
  readonly #wait = Atomics.wait;
  #ms = 0;

  constructor() {
    performance.now = () => this.#ms;
    Atomics.wait = ((...[, , , milliseconds]: Parameters<typeof Atomics.wait>) => {
      if (milliseconds === undefined) throw new Error("This thread would sleep for good");
      this.naps.push(milliseconds);
      this.pass(milliseconds);
      return "timed-out" as const;
    }) as typeof Atomics.wait;
  }

  /** The time, in milliseconds since the start. */
  get ms(): number {
    return this.#ms;
  }

  /** Lets time pass, as a call does that waits. */
  pass(milliseconds: number): void {
    this.#ms += milliseconds;
  }

  [Symbol.dispose](): void {
    performance.now = this.#now;
    Atomics.wait = this.#wait;
  }
}

/** Does some work. Returns for how long it slept, each time, in milliseconds. */
export function napsOf(work: () => unknown): readonly number[] {
  using clock = new VirtualClock();
  work();
  return clock.naps;
}
