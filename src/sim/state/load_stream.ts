/**
 * A simulated device's side of a restore: it takes the transactions that
 * save_stream.ts makes, and refuses anything else.
 */

import type { ViewedBytes } from "../os/bytes.ts";
import type { DeviceState } from "./device_state.ts";
import { HEADER, LAST, MAGIC, RECORD } from "./save_stream.ts";

/** The result of a transaction. */
export interface TakeResult {
  /** Whether the device took it. */
  readonly taken: boolean;
  /** Whether it is refused because the state that it is of has another size. */
  readonly foreign?: boolean;
  /** How the user broke the protocol, if so. */
  readonly violation?: string;
}

const REFUSED: TakeResult = { taken: false };
const TAKEN: TakeResult = { taken: true };

/** A restore in progress. */
export class LoadStream {
  readonly #state: DeviceState;
  #sequence = 0;
  /** Whether the last transaction of a save has been taken. */
  complete = false;

  /** Begins a restore into `state`. */
  constructor(state: DeviceState) {
    this.#state = state;
  }

  /** Takes the transaction of `size` bytes at `at`. A refused one does not change the state. */
  take(given: ViewedBytes, at: number, size: number): TakeResult {
    const { view } = given;
    if (size < HEADER || view.getUint32(at, true) !== MAGIC || this.complete) return REFUSED;
    const sequence = view.getUint32(at + 4, true);
    if (sequence !== this.#sequence) {
      const violation = `transaction ${sequence} came instead of ${this.#sequence}`;
      return { taken: false, violation };
    }
    const saved = view.getUint32(at + 8, true);
    if (saved !== size) {
      const violation = `transaction ${sequence} has ${size} bytes, but had ${saved} when saved`;
      return { taken: false, violation };
    }
    const used = view.getUint32(at + 12, true);
    if (used < HEADER || used > size) return REFUSED;
    if (getU64(view, at + 24) !== this.#state.size) return { taken: false, foreign: true };
    // The whole transaction is checked before any of it is used.
    if (!this.#records(view, at, used, () => {})) return REFUSED;
    this.#records(view, at, used, (offset, from, length) => {
      this.#state.write(offset, given, from, length);
    });
    this.complete = (view.getUint32(at + 16, true) & LAST) !== 0;
    this.#sequence += 1;
    return TAKEN;
  }

  #records(
    view: DataView,
    at: number,
    used: number,
    take: (offset: number, from: number, length: number) => void,
  ): boolean {
    let inside = HEADER;
    while (inside < used) {
      if (used - inside <= RECORD) return false;
      const offset = getU64(view, at + inside);
      const length = view.getUint32(at + inside + 8, true);
      if (length === 0 || length > used - inside - RECORD) return false;
      if (offset + length > this.#state.size) return false;
      take(offset, at + inside + RECORD, length);
      inside += RECORD + length;
    }
    return true;
  }
}

/** A u64. Values above 2^53 are rounded, but are still larger than any state. */
function getU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}
