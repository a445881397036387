/**
 * When a device changed its state, measured on the thread that changes it.
 *
 * @module
 */

import type { StateChange } from "../../vfio/state/standstill.ts";
import type { StateName } from "../../vfio/state/states.ts";

/** The most changes that are kept: a save has ten or so. */
const MAX_CHANGES = 256;

/** Keeps the latest changes of a device's state. */
export class StateTimes {
  readonly #now: () => number;
  #changes: StateChange[] = [];
  #state: StateName | null = null;
  #read = 0;
  #firstData: number | null = null;

  /** Takes the time from this clock, by default the one that all threads share. */
  constructor(now: () => number = () => performance.timeOrigin + performance.now()) {
    this.#now = now;
  }

  /** The changes, oldest first. */
  get changes(): readonly StateChange[] {
    return this.#changes;
  }

  /** A state was read. */
  state(state: StateName): void {
    const now = this.#now();
    const from = this.#state;
    if (from !== null && from !== state) {
      const firstData = this.#firstData;
      this.#changes.push({ from, to: state, begun: this.#read, ended: now, firstData });
      this.#firstData = null;
      if (this.#changes.length > MAX_CHANGES) this.#changes.shift();
    }
    this.#state = state;
    this.#read = now;
  }

  /** Data was moved. */
  moved(): void {
    this.#firstData ??= this.#now();
  }
}
