/**
 * What the time is spent on while devices stand still.
 */

/** Times steps that follow each other: each lasts until the next one begins. */
export class StepTimes<Step extends string> {
  readonly #begun: { readonly step: Step; readonly at: number }[] = [];
  #ended = 0;

  /** Begins a step. */
  begin(step: Step): void {
    this.#begun.push({ step, at: performance.now() });
  }

  /** Ends the last step. */
  end(): void {
    this.#ended = performance.now();
  }

  /** The step that lasts; null before the first, and after the end. */
  get now(): Step | null {
    return this.#ended === 0 ? this.#begun.at(-1)?.step ?? null : null;
  }

  /** How long all of them took, in seconds. */
  get seconds(): number {
    return (this.#ended - this.#begun[0]!.at) / 1000;
  }

  /** How long each took, in seconds. */
  get steps(): { readonly step: Step; readonly seconds: number }[] {
    return this.#begun.map(({ step, at }, index) => ({
      step,
      seconds: ((this.#begun[index + 1]?.at ?? this.#ended) - at) / 1000,
    }));
  }
}
