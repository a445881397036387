/**
 * Ends a wait early: by the caller's signal, or by an event of a higher layer, such as a closed
 * device.
 */

/** Ends waits at once, even if the awaited promise never settles. */
export class Ending implements Disposable {
  readonly #signal: AbortSignal | undefined;
  readonly #stopListening: () => void;
  readonly #waiting = new Set<(reason: unknown) => void>();
  readonly #onAbort = (): void => this.#end(this.#signal?.reason);
  #ended: { readonly reason: unknown } | null = null;

  /**
   * Listens to the signal and to the other event.
   *
   * @param listen Receives the function to call at the event; returns a function that stops
   * listening.
   */
  constructor(
    signal: AbortSignal | undefined,
    listen?: (end: (reason: unknown) => void) => () => void,
  ) {
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
    this.#stopListening = listen?.((reason) => this.#end(reason)) ?? (() => {});
    if (signal?.aborted) this.#onAbort();
  }

  #end(reason: unknown): void {
    this.#ended ??= { reason };
    for (const reject of this.#waiting) reject(reason);
    this.#waiting.clear();
  }

  /** Waits for a promise; rejects with the reason if the end comes first. */
  until<Value>(work: Promise<Value>): Promise<Value> {
    return new Promise((resolve, reject) => {
      const settled = (): void => void this.#waiting.delete(reject);
      work.then((value) => {
        settled();
        resolve(value);
      }, (error) => {
        settled();
        reject(error);
      });
      if (this.#ended === null) this.#waiting.add(reject);
      else reject(this.#ended.reason);
    });
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#stopListening();
  }
}
