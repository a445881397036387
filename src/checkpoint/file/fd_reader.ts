/**
 * A checkpoint read from an fd, synchronously: on the device's thread.
 */

import type { Batch } from "../batches/batch.ts";
import type { DecodedHeader } from "../metadata/header.ts";
import { CheckpointReader } from "../format/checkpoint_reader.ts";
import { isErrno } from "../../kernel/sys_error.ts";
import { type Kernel, POLLIN } from "../../kernel/kernel.ts";

/** The longest that one call waits for bytes, in milliseconds. */
const WAIT_MS = 100;

/** What a step came to: a batch, some bytes, nothing for a while, or the end. */
export type Step = Batch | "some" | "nothing" | "end";

/** Reads a checkpoint, each byte to where it belongs, and checks it. */
export class FdReader {
  readonly #kernel: Kernel;
  readonly #fd: number;
  readonly #reader = new CheckpointReader({ requireComplete: true });
  #position: number | null;

  /** Reads from `position` on, or, where that is null, from where the fd stands. */
  constructor(kernel: Kernel, fd: number, position: number | null) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#position = position;
  }

  /** The header; null until it has come. */
  get header(): DecodedHeader | null {
    return this.#reader.header;
  }

  /**
   * Reads once. A fd that has nothing to give is not waited for longer than a while.
   *
   * @throws {CheckpointError} If the checkpoint is bad, or ends too early.
   * @throws {SysError} If it cannot be read.
   */
  step(): Step {
    const count = this.#read(this.#reader.room());
    if (count === null) return "nothing";
    if (count > 0) return this.#reader.filled(count) ?? "some";
    this.#reader.end();
    return "end";
  }

  #read(into: Uint8Array<ArrayBuffer>): number | null {
    if (this.#position !== null) {
      const count = this.#kernel.pread(this.#fd, into, this.#position);
      this.#position += count;
      return count;
    }
    if (this.#kernel.poll(this.#fd, POLLIN, WAIT_MS) === 0) return null;
    try {
      return this.#kernel.read(this.#fd, into);
    } catch (error) {
      // Somebody else who has the pipe open was quicker.
      if (isErrno(error, "EAGAIN")) return null;
      throw error;
    }
  }
}
