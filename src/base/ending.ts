/**
 * What ends a wait early: the caller's signal, or something else that a layer above knows of,
 * such as that a device was closed.
 */

/** Ends waits. Each is over at once, though what was waited for may never be. */
export class Ending implements Disposable {
  readonly #signal: AbortSignal | undefined;
  readonly #stopListening: () => void;
  readonly #waiting = new Set<(reason: unknown) => void>();
  readonly #onAbort = (): void => this.#end(this.#signal?.reason);
  #ended: { readonly reason: unknown } | null = null;

  /**
   * Listens to the signal, and to what else ends the wait.
   *
   * @param listen Is given what to call at the end; returns how to stop listening.
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

  /** Waits for something; rejects with the reason where the end comes first. */
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

  /** Listens no longer. */
  [Symbol.dispose](): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#stopListening();
  }
}
