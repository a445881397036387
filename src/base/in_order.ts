/**
 * Work that must not overlap.
 */

/** Does one thing after the other, in the order in which they were asked for. */
export class InOrder {
  #last: Promise<void> = Promise.resolve();

  /** Does this once what was asked for before is done; after a failure, all fails like that. */
  run(work: () => Promise<void>): Promise<void> {
    const running = this.#last.then(work);
    // Who asks next finds the failure, too.
    running.catch(() => {});
    return this.#last = running;
  }
}
