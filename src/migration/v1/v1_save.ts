/**
 * The v1 save loop: pending_bytes, data_offset, data_size, data, in this order,
 * until the phase ends.
 */

import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";
import type { Region } from "../../vfio/device/region.ts";
import type { BatchBuilder } from "../../checkpoint/batches/batch_builder.ts";
import type { Counters, PrecopyLimits } from "../protocol/engine.ts";
import type { MigrationErrorCode } from "../migration_error.ts";
import { DriverError } from "../protocol/recovery.ts";
import type { PrecopyReport } from "../../vfio/state/precopy_report.ts";
import { Rounds } from "../protocol/precopy_rounds.ts";
import { declaredRoom, type V1DataSection } from "./v1_data_section.ts";
import type { V1Quirk } from "./v1_quirks.ts";
import { REGISTERS_SIZE, type V1Registers } from "./v1_registers.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";

/** A batch is handed over after this time, full or not, so that a slow device shows progress. */
const BATCH_MS = 100;

/** Consecutive iterations with data_size 0 after which the save fails. */
const MAX_EMPTY = 16;

/** How often pending_bytes may return from 0 in a stopped device before the save fails. */
const MAX_RETURNS = 16;

/** How much more than is pending may come at once, for headers and padding. */
const PENDING_SLACK = 64 * 1024;

/**
 * Refuses a data section that does not lie in the region, after its registers. `told` is what the
 * driver said about it, for messages.
 */
export function checkDataSection(
  offset: number,
  size: number,
  regionSize: number,
  told: () => string,
): void {
  // Both are below 2^64 and exact below 2^53, which every region's size is.
  if (offset >= REGISTERS_SIZE && offset + size <= regionSize) return;
  const [what, code]: readonly [string, MigrationErrorCode] = offset === 0
    ? ["gave data_offset 0", "data-offset"]
    : offset < REGISTERS_SIZE
    ? ["puts its data over its registers", "data-offset"]
    : ["puts its data outside its region", "data-bounds"];
  throw new DriverError(`the driver ${what} (${told()}, region size ${regionSize})`, code);
}

/** What a phase of saving works with. */
export interface V1SaveParts {
  /** The migration region's registers. */
  readonly registers: V1Registers;
  /** Its data section. */
  readonly data: V1DataSection;
  /** The region. */
  readonly region: Region;
  /** What is different with this driver. */
  readonly quirk: V1Quirk;
  /** The progress that the caller's thread sees. */
  readonly counters: Counters;
  /** The phase. */
  readonly phase: Phase;
  /** When pre-copy ends. */
  readonly limits: PrecopyLimits;
  /** Where notes about the driver go. */
  readonly notes: DriverNotes;
  /** Bytes that pre-copy gave; null if not known. */
  readonly before: number | null;
}

/** One phase of saving, with its position in rounds and transactions. */
export class V1Save {
  readonly #registers: V1Registers;
  readonly #data: V1DataSection;
  readonly #region: Region;
  readonly #regionSize: number;
  readonly #quirk: V1Quirk;
  readonly #counters: Counters;
  readonly #phase: Phase;
  readonly #rounds: Rounds;
  readonly #notes: DriverNotes;
  /** Bytes that pre-copy gave; null if not known. */
  readonly #before: number | null;

  // The transaction that is being read.
  #offset = 0;
  #size = 0;
  #done = 0;
  #empty = 0;
  // Stop-and-copy: bytes read since pending_bytes was last at its lowest.
  #lowestPending = Infinity;
  #sinceLowest = 0;
  // For the check at the end of stop-and-copy: bytes pending at its start, bytes read, and the
  // largest transaction.
  #announced = 0;
  #given = 0;
  #largest = 0;
  #returns = 0;
  #lastPending = Infinity;

  constructor(
    { registers, data, region, quirk, counters, phase, limits, notes, before }: V1SaveParts,
  ) {
    this.#registers = registers;
    this.#data = data;
    this.#region = region;
    this.#regionSize = Number(region.size);
    this.#quirk = quirk;
    this.#counters = counters;
    this.#phase = phase;
    this.#rounds = new Rounds(limits);
    this.#notes = notes;
    this.#before = before;
  }

  /** How pre-copy went. */
  get precopy(): PrecopyReport {
    return this.#rounds.report();
  }

  /** Bytes that the driver gave in this phase. */
  get given(): number {
    return this.#given;
  }

  /**
   * Reads until the batch is full, or a while has passed, or the phase has
   * ended (true). A transaction that does not fit in what is left of a batch
   * starts the next one; one larger than a batch is cut into several.
   *
   * @throws {DriverError} If the driver breaks the protocol.
   * @throws {SysError} If a register or the data cannot be read.
   */
  fill(batch: BatchBuilder): boolean {
    const deadline = performance.now() + BATCH_MS;
    for (;;) {
      if (this.#done === this.#size) {
        const next = this.#next();
        if (next !== "data") return next === "ended";
      }
      const left = this.#size - this.#done;
      if (left > batch.free && !batch.empty) return false;
      const length = Math.min(left, batch.free);
      this.#data.read(this.#offset + this.#done, batch.room(length));
      this.#done += length;
      const more = this.#done < this.#size;
      batch.add(length, more);
      this.#counters.bytes += length;
      if (!more) this.#counters.transactions += 1;
      if (more || batch.free === 0 || this.#counters.interrupted) return false;
      if (performance.now() > deadline) return false;
    }
  }

  /** Opens the next iteration that has data; `later` if another request waits for the engine. */
  #next(): "data" | "ended" | "later" {
    for (;;) {
      const pending = this.#pending();
      // After a pending_bytes of 0, data_offset must not be read.
      if (this.#phase === "pre-copy") {
        if (pending === 0) return "ended";
        if (this.#rounds.fits(pending) || this.#rounds.exhausted(pending)) return "ended";
      } else {
        if (pending === 0 && this.#stays()) return "ended";
        if (pending === 0) continue;
        this.#demandProgress(pending);
      }
      this.#offset = this.#registers.dataOffset;
      this.#size = this.#registers.dataSize;
      this.#done = 0;
      if (this.#size === 0 && this.#quirk.zeroSizeIsPending) {
        // At the region's end there is no room for the pending data: that is not an empty
        // iteration.
        this.#size = Math.min(pending, declaredRoom(this.#region, this.#offset) || pending);
        this.#notes.add("quirk-data-size", () => `data_size was 0 with ${pending} bytes pending`);
      }
      checkDataSection(this.#offset, this.#size, this.#regionSize, this.#told);
      if (this.#size > 0) {
        this.#empty = 0;
        this.#judgeData(pending);
        this.#rounds.read(this.#size);
        this.#sinceLowest += this.#size;
        this.#given += this.#size;
        this.#largest = Math.max(this.#largest, this.#size);
        return "data";
      }
      this.#empty += 1;
      this.#notes.add(
        "data-size-zero",
        () => `data_size was 0 with ${this.#registers.digits("pending_bytes")} bytes pending`,
      );
      if (this.#empty === MAX_EMPTY) {
        throw new DriverError(
          `the driver gave data_size 0 in ${MAX_EMPTY} iterations with ` +
            `${this.#registers.digits("pending_bytes")} bytes pending`,
          "data-size-zero",
        );
      }
      if (this.#counters.interrupted) return "later";
    }
  }

  /** Reads pending_bytes; a value that no state can have is an error. */
  #pending(): number {
    const pending = this.#registers.pendingBytes;
    if (pending > Number.MAX_SAFE_INTEGER) {
      throw new DriverError(
        `the driver gave pending_bytes ${this.#registers.digits("pending_bytes")}, which no ` +
          "state has",
        "pending-bytes",
      );
    }
    this.#counters.pendingBytes = pending;
    return pending;
  }

  /**
   * Whether a stopped device has given all: its pending_bytes of 0 stays one. Before the phase is
   * left it is judged by what was announced: a state that never came must not pass for a save.
   */
  #stays(): boolean {
    const again = this.#pending();
    if (again !== 0) {
      this.#returns += 1;
      this.#notes.add("pending-returned", () => `pending_bytes went from 0 to ${again}`);
      if (this.#returns < MAX_RETURNS) return false;
      throw new DriverError(
        `the driver's pending_bytes came back from 0 for the ${MAX_RETURNS}th time`,
        "no-progress",
      );
    }
    if (this.#given === 0 && this.#announced > 0) {
      throw new DriverError(
        `the driver announced ${this.#announced} bytes and gave none`,
        "state-missing",
      );
    }
    // A difference below one transaction is an estimate that was too high.
    if (this.#announced - this.#given > this.#largest) {
      this.#notes.add(
        "pending-dropped",
        () => `pending_bytes was 0 after ${this.#given} of ${this.#announced} bytes`,
      );
    }
    if (this.#given === 0 && this.#before === 0) {
      this.#notes.add("state-empty", () => "pending_bytes was 0 from the start, in each phase");
    }
    return true;
  }

  /** Checks an iteration's data against the header's rules. */
  #judgeData(pending: number): void {
    this.#data.noteOffset(this.#offset);
    const size = this.#size;
    // A running device may have more by now; a stopped one only little more than it counts.
    if (this.#phase === "pre-copy" || size <= 2 * pending + PENDING_SLACK) return;
    this.#notes.add(
      "data-size-over-pending",
      () => `data_size was 0x${size.toString(16)} with ${pending} bytes pending`,
    );
  }

  /** What the driver said about its data. */
  readonly #told = (): string =>
    `data_offset ${this.#registers.hex("data_offset")}, ` +
    `data_size ${this.#registers.hex("data_size")}`;

  /** A stopped device has an end: reading far more than was pending must bring pending down. */
  #demandProgress(pending: number): void {
    if (this.#announced === 0) this.#announced = pending;
    const last = this.#lastPending;
    if (pending > last) {
      this.#notes.add("pending-grows", () => `pending_bytes went from ${last} to ${pending}`);
    }
    this.#lastPending = pending;
    if (pending < this.#lowestPending) {
      this.#lowestPending = pending;
      this.#sinceLowest = 0;
    } else if (this.#sinceLowest > 2 * this.#lowestPending + (1 << 20)) {
      throw new DriverError(
        `the driver gave ${this.#sinceLowest} bytes and pending_bytes stays at ` +
          this.#registers.digits("pending_bytes"),
        "no-progress",
      );
    }
  }
}
