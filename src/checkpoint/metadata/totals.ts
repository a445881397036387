/**
 * What a checkpoint holds, counted by its writer and again by its reader.
 */

import type { Phase } from "../batches/transaction.ts";
import type { DeviceTotals, PhaseTotals } from "./trailer.ts";

interface Entry {
  device: number;
  phase: Phase;
  transactions: number;
  bytes: number;
  smallest: number;
  largest: number;
  seconds: number;
}

/** What is counted of a batch. */
export interface CountedBatch {
  readonly device: number;
  readonly phase: Phase;
  readonly sizes: ArrayLike<number>;
  readonly more: boolean;
  readonly micros: number;
}

/** Counts batches. */
export class TotalsCounter {
  readonly #totals: { transactions: number; bytes: number }[];
  readonly #entries: Entry[] = [];
  /** By device: the phase and the length so far of a transaction that goes on. */
  readonly #open: ({ phase: Phase; length: number } | null)[];
  #last: Entry | null = null;
  /** By device: when its last batch came. Several are read at the same time. */
  readonly #micros: number[];

  constructor(devices: number) {
    this.#totals = Array.from({ length: devices }, () => ({ transactions: 0, bytes: 0 }));
    this.#open = Array.from({ length: devices }, () => null);
    this.#micros = Array.from({ length: devices }, () => 0);
  }

  /** Counts a batch; a string says why it cannot come now. */
  add(batch: CountedBatch): string | null {
    const { device, phase, sizes } = batch;
    const totals = this.#totals[device];
    if (totals === undefined) return `device ${device} is not in the header`;
    const open = this.#open[device] ?? null;
    if (open !== null && open.phase !== phase) {
      return `${phase} goes on with a transaction of ${open.phase}`;
    }
    const entry = this.#entry(device, phase);
    let length = open?.length ?? 0;
    let bytes = 0;
    for (let index = 0; index < sizes.length; index++) {
      const size = sizes[index]!;
      bytes += size;
      length += size;
      if (index === sizes.length - 1 && batch.more) break;
      if (length < entry.smallest) entry.smallest = length;
      if (length > entry.largest) entry.largest = length;
      length = 0;
    }
    this.#open[device] = batch.more ? { phase, length } : null;
    const transactions = sizes.length - (batch.more ? 1 : 0);
    entry.transactions += transactions;
    entry.bytes += bytes;
    // A clock that goes back counts as one that stands.
    const before = this.#micros[device]!;
    const micros = Math.max(before, batch.micros);
    entry.seconds += (micros - before) / 1e6;
    this.#micros[device] = micros;
    totals.transactions += transactions;
    totals.bytes += bytes;
    return null;
  }

  #entry(device: number, phase: Phase): Entry {
    if (this.#last?.device === device && this.#last.phase === phase) return this.#last;
    let entry = this.#entries.find((item) => item.device === device && item.phase === phase);
    if (entry === undefined) {
      entry = {
        device,
        phase,
        transactions: 0,
        bytes: 0,
        smallest: Infinity,
        largest: 0,
        seconds: 0,
      };
      this.#entries.push(entry);
    }
    return this.#last = entry;
  }

  /** The first device with a transaction that goes on; null for none. */
  get unfinished(): number | null {
    const device = this.#open.findIndex((open) => open !== null);
    return device < 0 ? null : device;
  }

  /** By device. */
  get devices(): DeviceTotals[] {
    return this.#totals.map((totals) => ({ ...totals }));
  }

  /** By device and phase, in the order in which they came. */
  get phases(): PhaseTotals[] {
    return this.#entries.map((entry) => ({
      ...entry,
      smallest: Math.min(entry.smallest, entry.largest),
    }));
  }

  /** Transactions of all devices. */
  get transactions(): number {
    return this.#totals.reduce((sum, { transactions }) => sum + transactions, 0);
  }

  /** Bytes of all devices, uncompressed. */
  get bytes(): number {
    return this.#totals.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}
