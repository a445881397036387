/**
 * What a save or a restore reports while it goes on.
 *
 * @module
 */

import type { ReadBack } from "../../checkpoint/read_back.ts";
import { type Member, unansweredMs } from "../lockstep.ts";
import { totals } from "../report.ts";

/** What a save or a restore does. */
export type TransferStep =
  /** The checkpoint is checked, before a device is touched. */
  | "verify"
  | "pre-copy"
  | "stop-and-copy"
  | "resuming"
  /** The file is read back; the devices run again meanwhile. */
  | "read-back"
  /** All is done: the numbers are those of the report. */
  | "done";

/** How far a save or a restore is. */
export interface TransferProgress {
  /** What it does. */
  readonly step: TransferStep;
  /** Transactions moved so far, by all devices and in all phases. */
  readonly transactions: number;
  /** Bytes of device state moved so far, likewise. */
  readonly bytes: number;
  /** Pending bytes, as the drivers last reported them; null if none has. */
  readonly pendingBytes: number | null;
  /** Bytes of the checkpoint that were checked so far; null in the steps that check none. */
  readonly checkedBytes: number | null;
  /**
   * For how many milliseconds a device's thread has left a request without an answer; 0 if none
   * has.
   */
  readonly unansweredMs: number;
}

/** Milliseconds between two reports of one step. */
const INTERVAL_MS = 100;

/** Calls `onProgress` at the begin of each step, ten times a second, and at the end. */
export class ProgressReports implements Disposable {
  /** Aborted by the caller, and by what `onProgress` throws. */
  readonly signal: AbortSignal | undefined;
  /** Bytes of the checkpoint that were checked before a restore. */
  verifiedBytes = 0;
  readonly #onProgress: ((progress: TransferProgress) => void) | undefined;
  readonly #readBack: ReadBack | undefined;
  readonly #thrown = new AbortController();
  #members: readonly Member[] = [];
  /** The step under way; null before the first. */
  #step: TransferStep | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    { onProgress, signal }: {
      readonly onProgress?: ((progress: TransferProgress) => void) | undefined;
      readonly signal?: AbortSignal | undefined;
    },
    readBack?: ReadBack,
  ) {
    this.#onProgress = onProgress;
    this.#readBack = readBack;
    const thrown = this.#thrown.signal;
    this.signal = onProgress === undefined
      ? signal
      : signal === undefined
      ? thrown
      : AbortSignal.any([signal, thrown]);
  }

  /** Begins to report on these devices. */
  watch(members: readonly Member[]): void {
    this.#members = members;
    if (this.#onProgress === undefined) return;
    this.#timer = setInterval(() => this.#report(), INTERVAL_MS);
  }

  /** Reports that the next step begins. */
  step(step: TransferStep): void {
    this.#step = step;
    this.#report();
  }

  /** Reports the end, with the numbers of the report. */
  done({ transactions, bytes }: { readonly transactions: number; readonly bytes: number }): void {
    this[Symbol.dispose]();
    this.#onProgress?.({
      ...{ step: "done", transactions, bytes, pendingBytes: null, checkedBytes: null },
      unansweredMs: 0,
    });
  }

  #report(): void {
    if (this.#step === null || this.#thrown.signal.aborted) return;
    try {
      this.#onProgress?.(this.#now(this.#step));
    } catch (error) {
      this.#thrown.abort(error);
    }
  }

  #now(step: TransferStep): TransferProgress {
    const moving = this.#members.filter(({ moving }) => moving)
      .map(({ device }) => device.progress());
    const pending = moving.flatMap(({ pendingBytes }) => pendingBytes ?? []);
    return {
      step,
      ...totals([...this.#members.flatMap(({ phases }) => phases), ...moving]),
      pendingBytes: pending.length === 0 ? null : pending.reduce((sum, bytes) => sum + bytes),
      checkedBytes: this.#checkedBytes(step),
      unansweredMs: unansweredMs(this.#members),
    };
  }

  #checkedBytes(step: TransferStep): number | null {
    if (step === "verify") return this.verifiedBytes;
    return step === "read-back" ? this.#readBack?.progress?.bytes ?? 0 : null;
  }

  /** Reports nothing more. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
