/**
 * How a thread sleeps until another one has something for it.
 */

/** Nobody waits longer at a time, in milliseconds: a lost thread then does no more than delay. */
const MAX_WAIT_MS = 0x7fff_ffff;

/**
 * A thread's doorbell: a counter in shared memory that the others increment.
 *
 * A thread that waits for one of several things has one bell for all of them.
 * {@linkcode Doorbell.until} reads the counter before it looks at those things,
 * so what changes after the look changes the counter too, and the sleep does
 * not begin: no wake-up is lost.
 */
export class Doorbell {
  /** The memory, to be sent to other threads. */
  readonly memory: SharedArrayBuffer;
  readonly #count: Int32Array<SharedArrayBuffer>;

  /** A new bell, or another thread's. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.memory = memory;
    this.#count = new Int32Array(memory);
  }

  /** Wakes whoever waits. Called after the change that they wait for. */
  ring(): void {
    Atomics.add(this.#count, 0, 1);
    Atomics.notify(this.#count, 0);
  }

  /**
   * Blocks this thread until `look` finds something.
   *
   * @param look Returns null while there is nothing. It is called at least once.
   * @param timeoutMs How long to wait; default: without end.
   * @returns What was found; null when the time is up.
   */
  until<Found>(look: () => Found | null, timeoutMs: number = MAX_WAIT_MS): Found | null {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const count = Atomics.load(this.#count, 0);
      const found = look();
      if (found !== null) return found;
      const left = deadline - performance.now();
      if (left <= 0) return null;
      Atomics.wait(this.#count, 0, count, left);
    }
  }

  /** The same on a thread that must not block: its event loop goes on meanwhile. */
  async untilAsync<Found>(
    look: () => Found | null,
    timeoutMs: number = MAX_WAIT_MS,
  ): Promise<Found | null> {
    const deadline = performance.now() + timeoutMs;
    // Atomics.waitAsync does not keep a process alive in Deno; a timer does.
    const alive = setInterval(() => {}, MAX_WAIT_MS);
    try {
      for (;;) {
        const count = Atomics.load(this.#count, 0);
        const found = look();
        if (found !== null) return found;
        const left = deadline - performance.now();
        if (left <= 0) return null;
        const { async, value } = Atomics.waitAsync(this.#count, 0, count, left);
        if (async) await value;
      }
    } finally {
      clearInterval(alive);
    }
  }
}
