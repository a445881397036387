/**
 * The v2 restore loop: everything goes to the data fd, in order.
 */

import { isErrno } from "../../kernel/sys_error.ts";
import type { Fd } from "../../kernel/fd.ts";
import { type Kernel, POLLOUT } from "../../kernel/kernel.ts";
import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";
import type { FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import type { Counters } from "../protocol/engine.ts";
import { dataError, DriverError, GONE, type Meanings } from "../protocol/recovery.ts";
import { Readiness } from "../protocol/data_io.ts";

/** The meanings of a data fd's errnos. */
const MEANINGS: Meanings = {
  EFAULT: ["the driver takes the state for incompatible", "incompatible-state"],
  EINVAL: ["the driver takes the state for incompatible", "incompatible-state"],
  ENOMEM: ["the state is longer than the driver takes", "state-too-long"],
  EOPNOTSUPP: ["the state needs a newer driver", "needs-newer-driver"],
  ENODEV: GONE,
  // Some drivers drop the count of the bytes they had taken: sent again, these would arrive twice.
  EINTR: [
    "a signal interrupted a write to the data fd, and how much the driver had taken is not known",
    "interrupted-transfer",
  ],
};

/** One restore. */
export class V2Restore {
  readonly #kernel: Kernel;
  readonly #fd: Fd;
  readonly #readiness: Readiness;
  readonly #counters: Counters;
  readonly #notes: DriverNotes;

  constructor(kernel: Kernel, fd: Fd, counters: Counters, notes: DriverNotes) {
    this.#kernel = kernel;
    this.#readiness = new Readiness(kernel, fd, POLLOUT, notes);
    this.#fd = fd;
    this.#counters = counters;
    this.#notes = notes;
  }

  /**
   * Writes a batch. Any failed write ends the restore: a driver may still
   * accept the step to STOP afterwards, with half a state.
   *
   * @throws {DriverError} If the driver refuses it, with the errno as cause.
   */
  load(batch: FilledBatch): void {
    let written = 0;
    while (written < batch.bytes.length) {
      const count = this.#write(batch.bytes.subarray(written));
      written += count;
      this.#counters.bytes += count;
    }
    this.#counters.transactions += batch.sizes.length - (batch.more ? 1 : 0);
  }

  #write(bytes: Uint8Array): number {
    for (;;) {
      try {
        const count = this.#kernel.write(this.#fd.number, bytes, "once");
        if (count > bytes.length) {
          throw new DriverError(`the driver took ${count} bytes of ${bytes.length}`, "data-bounds");
        }
        if (count > 0) {
          this.#readiness.moved();
          if (count < bytes.length) {
            this.#notes.add("short-write", () => `write took ${count} of ${bytes.length} bytes`);
          }
          return count;
        }
        throw new DriverError("the driver took 0 bytes", "no-progress");
      } catch (error) {
        if (!isErrno(error, "EAGAIN")) {
          throw dataError("takes no data", error, MEANINGS);
        }
        if (this.#counters.interrupted) {
          throw new DriverError("interrupted while the driver took no data", "interrupted", error);
        }
        this.#readiness.wait();
      }
    }
  }
}
