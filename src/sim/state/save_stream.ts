/**
 * A simulated device's side of a save: it makes the transactions, one by one.
 *
 * The format is the device's own, little endian. A transaction is a header of
 * {@linkcode HEADER} bytes {magic u32, sequence u32, size u32, used u32, flags
 * u32, 0 u32, stateSize u64} and records {offset u64, length u32, 0 u32, bytes}
 * up to `used`; the bytes from `used` to `size` are padding. A page may be split
 * between two transactions.
 */

import type { ViewedBytes } from "../os/bytes.ts";
import type { DeviceState } from "./device_state.ts";
import { PAGE } from "./pages.ts";

/** Bytes of a transaction's header. */
export const HEADER = 32;
/** Bytes of a record's header. */
export const RECORD = 16;
/** `VKTX`. */
export const MAGIC = 0x58544b56;
/** Flag: no transaction follows. */
export const LAST = 1;

/** A save in progress. */
export class SaveStream {
  readonly #state: DeviceState;
  readonly #padded: boolean;
  /** The bytes that pending_bytes counts per page; a device that pads counts the worst case. */
  readonly #pageCost: number;
  #sequence = 0;
  #cursor = 0;
  /** The rest of the pages that were split. */
  #cutAt = 0;
  #cutLength = 0;
  #lastSent = false;

  /** Begins a save; with `padded`, a transaction has exactly the size that the caller asks for. */
  constructor(state: DeviceState, padded: boolean) {
    this.#state = state;
    this.#padded = padded;
    this.#pageCost = padded ? PAGE + RECORD : PAGE;
    state.trackAll();
  }

  /** Bytes of pages that were taken, but are not in a transaction yet. */
  get cut(): number {
    return this.#cutLength;
  }

  /** Bytes that are still to be read. A stopped device always has a last transaction. */
  pending(stopped: boolean): number {
    const cut = this.#cutLength === 0 ? 0 : this.#cutLength + this.#pageCost - PAGE;
    const bytes = this.#state.dirtyPages * this.#pageCost + cut;
    if (stopped) return this.#lastSent ? 0 : bytes + HEADER;
    return bytes === 0 ? 0 : bytes + HEADER;
  }

  /** Makes the next transaction of at most `limit` bytes at `at`; returns the bytes used. */
  next(out: ViewedBytes, at: number, limit: number, stopped: boolean): number {
    const { bytes, view } = out;
    let used = HEADER;
    if (this.#cutLength > 0) {
      const length = Math.min(this.#cutLength, limit - used - RECORD);
      used += this.#record(out, at + used, length);
    }
    while (this.#cutLength === 0 && limit - used > RECORD) {
      const page = this.#state.nextDirty(this.#cursor);
      if (page < 0) break;
      const room = limit - used - RECORD;
      const pages = this.#state.dirtyRun(page, Math.ceil(room / PAGE));
      this.#state.clean(page, pages);
      this.#cursor = (page + pages) % this.#state.pages;
      this.#cutAt = page * PAGE;
      this.#cutLength = pages * PAGE;
      used += this.#record(out, at + used, Math.min(this.#cutLength, room));
    }
    this.#lastSent = stopped && this.#cutLength === 0 && this.#state.dirtyPages === 0;
    const size = this.#padded ? limit : used;
    if (size > used) bytes.fill(0, at + used, at + size);
    view.setUint32(at, MAGIC, true);
    view.setUint32(at + 4, this.#sequence, true);
    view.setUint32(at + 8, size, true);
    view.setUint32(at + 12, used, true);
    view.setUint32(at + 16, this.#lastSent ? LAST : 0, true);
    view.setUint32(at + 20, 0, true);
    setU64(view, at + 24, this.#state.size);
    this.#sequence += 1;
    return size;
  }

  /** Puts the next `length` bytes of the pages that were taken at `at`; returns the bytes used. */
  #record(out: ViewedBytes, at: number, length: number): number {
    const { view } = out;
    setU64(view, at, this.#cutAt);
    view.setUint32(at + 8, length, true);
    view.setUint32(at + 12, 0, true);
    this.#state.read(this.#cutAt, out, at + RECORD, length);
    this.#cutAt += length;
    this.#cutLength -= length;
    return RECORD + length;
  }
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
