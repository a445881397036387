/**
 * What comes one after the other, such as accepted connections, and who waits for it.
 */

/** Those that have come and were not taken, and those who wait for the next one. */
export class Arrivals<Item> {
  readonly #ready: Item[] = [];
  readonly #waiting: PromiseWithResolvers<Item>[] = [];
  /** Why no more come. */
  #failure: Error | null = null;

  /** How many have come and were not taken. */
  get count(): number {
    return this.#ready.length;
  }

  /** One has come: whoever waits longest gets it, or it waits. */
  add(item: Item): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#ready.push(item);
    else waiting.resolve(item);
  }

  /** No more come: whoever waits hears why, and whoever asks once all were taken. */
  fail(error: Error): void {
    this.#failure = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /**
   * Takes the next one, or waits for it.
   *
   * @param signal Waits no longer.
   * @throws What {@linkcode Arrivals.fail} was given.
   */
  async next(signal?: AbortSignal): Promise<Item> {
    signal?.throwIfAborted();
    if (this.#ready.length > 0) return this.#ready.shift()!;
    if (this.#failure !== null) throw this.#failure;
    const waiting = Promise.withResolvers<Item>();
    this.#waiting.push(waiting);
    const abort = (): void => {
      // Whatever comes from now on is for others.
      const at = this.#waiting.indexOf(waiting);
      if (at >= 0) this.#waiting.splice(at, 1);
      waiting.reject(signal!.reason);
    };
    signal?.addEventListener("abort", abort);
    try {
      return await waiting.promise;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Takes all that have come. */
  drain(): Item[] {
    return this.#ready.splice(0);
  }
}
