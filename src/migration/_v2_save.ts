/**
 * The v2 save loop: the data fd is read until it is drained, and that means
 * something else in each phase.
 */

import { isErrno, SysError } from "../kernel/error.ts";
import type { Fd } from "../kernel/fd.ts";
import { type Kernel, POLLIN } from "../kernel/kernel.ts";
import { VFIO_MIG_GET_PRECOPY_INFO, vfioPrecopyInfo } from "../uapi/mod.ts";
import type { BatchBuilder } from "./_batch.ts";
import type { Counters, PrecopyLimits } from "./_engine.ts";
import { nap } from "./_io.ts";
import { Rounds } from "./_rounds.ts";
import type { Phase } from "./types.ts";

/** A batch is handed over after so long, full or not. */
const BATCH_MS = 100;

/** How long pre-copy waits for initial bytes that the driver promised and does not give. */
const PATIENCE_MS = 1000;

/** Reads smaller than this are not worth what is left of a batch. */
const WORTH_READING = 64 * 1024;

/** One phase of saving. */
export class V2Save {
  readonly #kernel: Kernel;
  readonly #fd: Fd;
  readonly #counters: Counters;
  readonly #phase: Phase;
  readonly #rounds: Rounds;
  #estimate: number | null;
  #idleSince: number | null = null;

  /** `estimate` is what STOP_COPY is expected to give; null where that is unknown. */
  constructor(
    kernel: Kernel,
    fd: Fd,
    counters: Counters,
    phase: Phase,
    limits: PrecopyLimits,
    estimate: number | null,
  ) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#counters = counters;
    this.#phase = phase;
    this.#rounds = new Rounds(limits);
    this.#estimate = estimate;
  }

  /**
   * Reads until the batch is full, or a while has passed, or the phase has
   * ended (true). Each read makes a transaction: v2 has no bounds to keep.
   *
   * @throws {SysError} If the data fd cannot be read.
   */
  fill(batch: BatchBuilder): boolean {
    const deadline = performance.now() + BATCH_MS;
    while (batch.empty || batch.free >= WORTH_READING) {
      if (this.#phase === "pre-copy" && this.#precopyEnds()) return true;
      const count = this.#read(batch.room(batch.free));
      if (count === null) {
        this.#kernel.poll(this.#fd.number, POLLIN, 100);
        nap(1);
      } else if (count > 0) {
        this.#idleSince = null;
        batch.add(count, false);
        this.#rounds.read(count);
        this.#count(count);
      } else if (this.#phase === "stop-and-copy" || this.#drained()) {
        return true;
      }
      if (this.#counters.interrupted || performance.now() > deadline) return false;
    }
    return false;
  }

  /**
   * Bytes read. 0: nothing more, which in pre-copy some drivers say with
   * ENOMSG; null: not yet.
   */
  #read(into: Uint8Array<ArrayBuffer>): number | null {
    try {
      return this.#kernel.read(this.#fd.number, into);
    } catch (error) {
      if (isErrno(error, "EAGAIN")) return null;
      if (isErrno(error, "ENOMSG") && this.#phase === "pre-copy") return 0;
      throw error;
    }
  }

  #count(bytes: number): void {
    this.#counters.bytes += bytes;
    this.#counters.transactions += 1;
    if (this.#phase === "pre-copy" || this.#estimate === null) return;
    this.#estimate = Math.max(0, this.#estimate - bytes);
    this.#counters.pendingBytes = this.#estimate;
  }

  /** What the driver still has, as it estimates; null where it does not tell. */
  #info(): { readonly initial: number; readonly dirty: number } | null {
    const argument = vfioPrecopyInfo.pack({});
    try {
      this.#kernel.ioctl(this.#fd.number, VFIO_MIG_GET_PRECOPY_INFO, argument);
    } catch (error) {
      if (error instanceof SysError && !isErrno(error, "ENODEV")) return null;
      throw error;
    }
    const { initial_bytes, dirty_bytes } = vfioPrecopyInfo.unpack(argument);
    return { initial: Number(initial_bytes), dirty: Number(dirty_bytes) };
  }

  /** Whether pre-copy has done what it can: all initial bytes are read, and little changed since. */
  #precopyEnds(): boolean {
    const info = this.#info();
    // A driver that does not tell what is left could be read from without end.
    if (info === null) return true;
    const pending = info.initial + info.dirty;
    this.#counters.pendingBytes = pending;
    if (info.initial === 0 && this.#rounds.fits(info.dirty)) return true;
    // The limits hold while initial bytes are left, too: a driver may never give them.
    return this.#rounds.exhausted(pending);
  }

  /** Nothing to read now: over, unless initial bytes are still promised. */
  #drained(): boolean {
    const info = this.#info();
    if (info === null || info.initial === 0) return true;
    this.#idleSince ??= performance.now();
    if (performance.now() - this.#idleSince > PATIENCE_MS) return true;
    nap(5);
    return false;
  }
}
