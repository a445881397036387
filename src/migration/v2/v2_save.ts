/**
 * The v2 save loop: reads the data fd until it is drained, which each phase shows differently.
 */

import { isErrno, SysError } from "../../kernel/sys_error.ts";
import type { Fd } from "../../kernel/fd.ts";
import { type Kernel, POLLIN } from "../../kernel/kernel.ts";
import { sleepSync } from "../../kernel/process/sleep_sync.ts";
import {
  VFIO_MIG_GET_PRECOPY_INFO,
  VFIO_PRECOPY_INFO_REINIT,
  vfioPrecopyInfo,
} from "../../uapi/mod.ts";
import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";
import type { BatchBuilder } from "../../checkpoint/batches/batch_builder.ts";
import type { Counters, PrecopyLimits } from "../protocol/engine.ts";
import { dataError, DriverError, GONE, type Meanings } from "../protocol/recovery.ts";
import { Readiness } from "../protocol/data_io.ts";
import { PrecopyNotes } from "../notes/precopy_notes.ts";
import type { PrecopyReport } from "../../vfio/state/precopy_report.ts";
import { Rounds } from "../protocol/precopy_rounds.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";

/** A batch is handed over after this time, full or not. */
const BATCH_MS = 100;

/** How long pre-copy waits for initial bytes that the driver announced and does not give. */
const PATIENCE_MS = 1000;

/** How long it waits for a driver that is not ready (EAGAIN). */
const EAGAIN_PATIENCE_MS = 5000;

/** The meanings of a data fd's errnos. */
const MEANINGS: Meanings = {
  ENODEV: GONE,
  ENOMSG: ["the driver ends its data by an errno that only pre-copy has", "io"],
  // Some drivers drop the bytes that they had returned, others keep them: user space cannot tell.
  EINTR: [
    "a signal interrupted a read of the data fd, and what the driver had given by then may be lost",
    "interrupted-transfer",
  ],
};

/** If a batch has less room than this, the next read goes into the next batch. */
const WORTH_READING = 64 * 1024;

/** An estimate is far off by more than half or twice, and by more than this. */
const ESTIMATE_BYTES = 64 * 1024;

/** What a driver says about its data besides the data fd. */
export interface V2Estimates {
  /** Whether the driver itself sets the flags of the precopy info. */
  readonly tellsReinit: boolean;
  /** Estimate of the bytes that STOP_COPY will give; 0 or null if the driver has none. */
  dataSize(): number | null;
}

/** What a phase of saving works with. */
export interface V2SaveParts {
  /** The kernel that the device is in. */
  readonly kernel: Kernel;
  /** The data fd. */
  readonly fd: Fd;
  /** What the driver says about its data besides. */
  readonly estimates: V2Estimates;
  /** The progress that the caller's thread sees. */
  readonly counters: Counters;
  /** The phase. */
  readonly phase: Phase;
  /** When pre-copy ends. */
  readonly limits: PrecopyLimits;
  /** Where notes about the driver go. */
  readonly notes: DriverNotes;
  /** Whether nothing of this session was read before. Default true. */
  readonly fresh?: boolean | undefined;
}

/** One phase of saving. */
export class V2Save {
  readonly #estimates: V2Estimates;
  readonly #kernel: Kernel;
  readonly #fd: Fd;
  readonly #readiness: Readiness;
  readonly #counters: Counters;
  readonly #phase: Phase;
  readonly #rounds: Rounds;
  readonly #notes: DriverNotes;
  readonly #precopy: PrecopyNotes;
  readonly #fresh: boolean;
  /** MIG_DATA_SIZE when the phase began. */
  readonly #announced: number | null;
  #estimate: number | null;
  /** STOP_COPY: the last read, if it returned less than there was room for. */
  #short: { readonly count: number; readonly room: number } | null = null;
  #idleSince: number | null = null;

  constructor(
    { kernel, fd, estimates, counters, phase, limits, notes, fresh = true }: V2SaveParts,
  ) {
    this.#estimates = estimates;
    this.#kernel = kernel;
    this.#fd = fd;
    this.#readiness = new Readiness(kernel, fd, POLLIN, notes);
    this.#counters = counters;
    this.#phase = phase;
    this.#rounds = new Rounds(limits);
    this.#notes = notes;
    this.#precopy = new PrecopyNotes(notes, fresh);
    this.#fresh = fresh;
    this.#announced = phase === "stop-and-copy" ? estimates.dataSize() : null;
    // A driver that does not know answers 0.
    this.#estimate = this.#announced || null;
    counters.pendingBytes = this.#estimate ?? -1;
  }

  /** How pre-copy went. */
  get precopy(): PrecopyReport {
    return this.#rounds.report();
  }

  /**
   * Reads until the batch is full, or a while has passed, or the phase has
   * ended (true). Each read makes a transaction: v2 has no bounds to keep.
   *
   * @throws {DriverError} If the data fd cannot be read, with the errno as cause.
   */
  fill(batch: BatchBuilder): boolean {
    const deadline = performance.now() + BATCH_MS;
    while (batch.empty || batch.free >= WORTH_READING) {
      if (this.#phase === "pre-copy" && this.#precopyEnds()) return true;
      const room = batch.free;
      const count = this.#read(batch.room(room));
      if (count === null) {
        if (this.#phase === "pre-copy" && this.#idleFor(EAGAIN_PATIENCE_MS)) {
          this.#notes.add(
            "precopy-stalled",
            () => `read answered EAGAIN for ${EAGAIN_PATIENCE_MS} ms`,
          );
          return true;
        }
        this.#readiness.wait();
      } else if (count > 0) {
        this.#readiness.moved();
        this.#idleSince = null;
        this.#noteRead(count, room);
        batch.add(count, false);
        this.#rounds.read(count);
        this.#count(count);
      } else if (this.#phase === "stop-and-copy") {
        this.#judgeEnd();
        // The estimate may have been of more than came.
        this.#counters.pendingBytes = 0;
        return true;
      } else if (this.#drained()) {
        return true;
      }
      if (this.#counters.interrupted || performance.now() > deadline) return false;
    }
    return false;
  }

  /** Checks what the driver gave, at the end. */
  #judgeEnd(): void {
    const { bytes } = this.#counters;
    if (bytes === 0) {
      this.#notes.add("stop-copy-empty", () => "STOP_COPY ended after 0 bytes");
      return;
    }
    const announced = this.#announced;
    if (announced === null) return;
    // After pre-copy, the rest may be far smaller than the device's state.
    const off = announced === 0 || bytes > 2 * announced + ESTIMATE_BYTES ||
      (this.#fresh && announced > 2 * bytes + ESTIMATE_BYTES);
    if (!off) return;
    this.#notes.add(
      "mig-data-size",
      () => `MIG_DATA_SIZE was ${announced}, and ${bytes} bytes came`,
    );
  }

  #noteRead(count: number, room: number): void {
    if (this.#phase === "pre-copy") return this.#precopy.read(count, room);
    const short = this.#short;
    if (short !== null) {
      this.#notes.add("short-read", () => `read gave ${short.count} of ${short.room} bytes`);
    }
    this.#short = count < room ? { count, room } : null;
  }

  /**
   * Returns the bytes read; 0 if there are no more, which some drivers report with ENOMSG in
   * pre-copy; null if there are none yet.
   */
  #read(into: Uint8Array): number | null {
    try {
      const count = this.#kernel.read(this.#fd.number, into, "once");
      if (count === 0 && this.#phase === "pre-copy") {
        this.#notes.add("drained-zero", () => "a read in pre-copy gave 0 bytes");
      }
      if (count <= into.length) return count;
      throw new DriverError(`the driver gave ${count} bytes for ${into.length}`, "data-bounds");
    } catch (error) {
      if (isErrno(error, "EAGAIN")) return null;
      if (isErrno(error, "ENOMSG") && this.#phase === "pre-copy") return 0;
      throw dataError("gives no data", error, MEANINGS);
    }
  }

  #count(bytes: number): void {
    this.#counters.bytes += bytes;
    this.#counters.transactions += 1;
    if (this.#estimate === null) return;
    this.#estimate = Math.max(0, this.#estimate - bytes);
    this.#counters.pendingBytes = this.#estimate;
  }

  /**
   * The driver's estimate of the data that it still has; null if it gives none. With new initial
   * data the rounds start anew, within their limits: stop-and-copy waits for it as for the first.
   */
  #info(): { readonly initial: number; readonly dirty: number } | null {
    const argument = vfioPrecopyInfo.pack({});
    try {
      this.#kernel.ioctl(this.#fd.number, VFIO_MIG_GET_PRECOPY_INFO, argument);
    } catch (error) {
      if (!(error instanceof SysError) || error.code === "ENODEV") throw error;
      const { code } = error;
      const note = code === "ENOTTY" ? "precopy-info-missing" : "precopy-info-failed";
      this.#notes.add(note, () => `VFIO_MIG_GET_PRECOPY_INFO answered ${code}`);
      return null;
    }
    const info = vfioPrecopyInfo.unpack(argument);
    this.#precopy.answered(info, this.#estimates.tellsReinit);
    const { flags, initial_bytes, dirty_bytes } = info;
    if (this.#estimates.tellsReinit && (flags & VFIO_PRECOPY_INFO_REINIT) !== 0) {
      this.#rounds.restart();
      this.#idleSince = null;
    }
    return { initial: Number(initial_bytes), dirty: Number(dirty_bytes) };
  }

  /** Whether pre-copy may end: all initial bytes are read, and little has changed since. */
  #precopyEnds(): boolean {
    const info = this.#info();
    // A driver that does not report the rest could be read from endlessly.
    if (info === null) {
      this.#rounds.unknown();
      return true;
    }
    const pending = info.initial + info.dirty;
    this.#counters.pendingBytes = pending;
    if (info.initial === 0 && this.#rounds.fits(this.#rest(info.dirty))) return true;
    // The limits also apply while initial bytes are left: a driver may never give them.
    return this.#rounds.exhausted(pending);
  }

  /**
   * What would be left for STOP_COPY. dirty_bytes does not include what a driver keeps for
   * STOP_COPY, so if time counts, the driver's MIG_DATA_SIZE is used as well.
   */
  #rest(dirty: number): number {
    return this.#rounds.timed ? Math.max(dirty, this.#estimates.dataSize() ?? 0) : dirty;
  }

  /** There is nothing to read now: the phase is over, unless initial bytes are still announced. */
  #drained(): boolean {
    const info = this.#info();
    if (info === null || info.initial === 0) return true;
    if (this.#idleFor(PATIENCE_MS)) {
      const seen = (): string => `initial_bytes stayed at ${info.initial} with nothing to read`;
      this.#notes.add("initial-bytes-left", seen);
      return true;
    }
    sleepSync(5);
    return false;
  }

  /** Whether nothing has come for this long. */
  #idleFor(milliseconds: number): boolean {
    this.#idleSince ??= performance.now();
    return performance.now() - this.#idleSince > milliseconds;
  }
}
