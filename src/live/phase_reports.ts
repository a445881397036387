/**
 * What the two sides of a migration report while it goes on.
 */

/** Milliseconds between two reports of one phase. */
const INTERVAL_MS = 100;

/** Reports each phase as it begins, and ten times a second while it lasts. */
export class PhaseReports<Phase> implements Disposable {
  readonly #report: (phase: Phase) => void;
  readonly #failed: (error: unknown) => void;
  readonly #timer: ReturnType<typeof setInterval>;
  /** The phase that lasts; null before the first, and at the end. */
  #phase: Phase | null = null;

  /** `failed` is called with what `report` throws between two phases. */
  constructor(report: (phase: Phase) => void, failed: (error: unknown) => void) {
    this.#report = report;
    this.#failed = failed;
    this.#timer = setInterval(() => this.#again(), INTERVAL_MS);
  }

  /** Reports that a phase begins, or that it has come further. */
  tell(phase: Phase): void {
    this.#phase = phase;
    this.#report(phase);
  }

  #again(): void {
    if (this.#phase === null) return;
    try {
      this.#report(this.#phase);
    } catch (error) {
      this[Symbol.dispose]();
      this.#failed(error);
    }
  }

  /** Reports nothing more by itself. */
  [Symbol.dispose](): void {
    this.#phase = null;
    clearInterval(this.#timer);
  }
}
