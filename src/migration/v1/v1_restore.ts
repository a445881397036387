/**
 * The v1 restore loop: for each transaction data_offset read, data written,
 * data_size written, with the sizes and in the order of the save.
 */

import { isErrno } from "../../kernel/sys_error.ts";
import type { FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import type { Counters } from "../protocol/engine.ts";
import { DriverError } from "../protocol/recovery.ts";
import type { V1DataSection } from "./v1_data_section.ts";
import type { V1Registers } from "./v1_registers.ts";
import { checkDataSection } from "./v1_save.ts";

/** One restore, with its position in the transaction. */
export class V1Restore {
  readonly #registers: V1Registers;
  readonly #data: V1DataSection;
  readonly #regionSize: number;
  readonly #counters: Counters;
  #offset = 0;
  #written = 0;
  #inside = false;
  /** The end of the present chunk in its transaction. */
  #end = 0;

  constructor(
    registers: V1Registers,
    data: V1DataSection,
    regionSize: number,
    counters: Counters,
  ) {
    this.#registers = registers;
    this.#data = data;
    this.#regionSize = regionSize;
    this.#counters = counters;
  }

  /** Whether a transaction is unfinished. */
  get inside(): boolean {
    return this.#inside;
  }

  /**
   * Gives a batch's transactions to the driver.
   *
   * @throws {DriverError} If a transaction does not fit where the driver wants it.
   * @throws {SysError} If the driver refuses the data or its size.
   */
  load(batch: FilledBatch): void {
    let at = 0;
    for (let index = 0; index < batch.sizes.length; index++) {
      const size = batch.sizes[index]!;
      const more = batch.more && index === batch.sizes.length - 1;
      this.#chunk(batch.bytes.subarray(at, at + size), more);
      at += size;
    }
  }

  /** These numbers are for messages. */
  readonly #told = (): string =>
    `data_offset ${this.#registers.hex("data_offset")}, ${this.#end} bytes of data`;

  #chunk(data: Uint8Array, more: boolean): void {
    if (!this.#inside) {
      this.#offset = this.#registers.dataOffset;
      this.#data.noteOffset(this.#offset);
      this.#written = 0;
      this.#inside = true;
    }
    this.#end = this.#written + data.length;
    checkDataSection(this.#offset, this.#end, this.#regionSize, this.#told);
    this.#give("data", () => this.#data.write(this.#offset + this.#written, data));
    this.#written += data.length;
    this.#counters.bytes += data.length;
    if (more) return;
    this.#give("data_size", () => this.#registers.dataSize = this.#written);
    this.#inside = false;
    this.#counters.transactions += 1;
  }

  /** Gives the driver a part of the state; if it refuses, the state is not for this device. */
  #give(what: string, write: () => void): void {
    try {
      write();
    } catch (error) {
      if (isErrno(error, "EINTR")) {
        throw new DriverError(
          `a signal interrupted the write of ${what}, and whether the driver had taken the ` +
            "transaction is not known (EINTR)",
          "interrupted-transfer",
          error,
        );
      }
      if (!isErrno(error, "EINVAL", "EFAULT", "ENOMEM", "ENOSPC")) throw error;
      throw new DriverError(
        `the driver takes the state for incompatible, by its ${what} (${error.code})`,
        "incompatible-state",
        error,
      );
    }
  }
}
