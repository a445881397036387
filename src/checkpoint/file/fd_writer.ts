/**
 * A checkpoint written to an fd, synchronously: on the device's thread.
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { startWriteBack } from "../../kernel/process/write_back.ts";
import type { Batch } from "../batches/batch_builder.ts";
import type { Phase } from "../batches/transaction.ts";
import { CheckpointEncoder, type EncodeOptions } from "../format/checkpoint_encoder.ts";
import type { CheckpointHeader } from "../metadata/header.ts";

/** Bytes that are worth a place in the disk's queue. */
const WRITE_BACK = 8 << 20;

/**
 * Encodes batches and writes them to a file that was empty. The disk begins
 * with what is there while the device is read on: the sync at the end, with the
 * device stopped, then has little left to wait for.
 */
export class FdWriter {
  readonly #kernel: Kernel;
  readonly #fd: number;
  readonly #encoder: CheckpointEncoder;
  #written = 0;
  /** Up to where the disk was told to begin. */
  #begun = 0;

  /** Writes the checkpoint's beginning. */
  constructor(kernel: Kernel, fd: number, header: CheckpointHeader, options: EncodeOptions) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#encoder = new CheckpointEncoder(header, options);
    this.#write(this.#encoder.begin());
  }

  /**
   * Writes a batch; its bytes are not needed any more afterwards.
   *
   * @throws {SysError} If the file takes no more.
   */
  batch(phase: Phase, { bytes, sizes, more }: Batch<ArrayBuffer>): void {
    this.#write(this.#encoder.batch({ device: 0, phase, sizes, more, bytes }));
  }

  /** Writes the checkpoint's end. */
  end(): void {
    this.#write(this.#encoder.end());
  }

  #write(chunks: readonly Uint8Array<ArrayBuffer>[]): void {
    for (const chunk of chunks) {
      let done = this.#kernel.write(this.#fd, chunk);
      while (done < chunk.length) done += this.#kernel.write(this.#fd, chunk.subarray(done));
      this.#written += chunk.length;
    }
    const length = this.#written - this.#begun;
    if (length < WRITE_BACK) return;
    // Where that cannot be had, the sync at the end writes all of it.
    startWriteBack(this.#fd, this.#begun, length);
    this.#begun = this.#written;
  }
}
