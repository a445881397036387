/**
 * When a device changed its state, measured on the thread that changes it.
 *
 * @module
 */

import type { StateName } from "../../vfio/state/states.ts";

/** A change of state. All times are milliseconds since 1970, with microseconds behind the point. */
export interface StateChange {
  /** The state before. */
  readonly from: StateName;
  /** The state after. */
  readonly to: StateName;
  /** When `from` was read last: the step was asked for right after it. */
  readonly begun: number;
  /** When `to` was read. */
  readonly ended: number;
  /** When the first data was moved in `from`; null if none was. */
  readonly firstData: number | null;
}

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
