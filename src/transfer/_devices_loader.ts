/**
 * One checkpoint that several devices are restored from.
 */

import type { Batch } from "../checkpoint/batches/batch.ts";
import type { DecodedHeader } from "../checkpoint/metadata/header.ts";
import { readBatches } from "../checkpoint/format/read_batches.ts";
import { CheckpointReader } from "../checkpoint/format/checkpoint_reader.ts";
import type { RestoreSource } from "./restore.ts";
import type { CheckpointTrailer } from "../checkpoint/metadata/trailer.ts";

/** Reads a checkpoint by its stream, no further than what it reads is taken. */
export class DevicesLoader {
  readonly #reader = new CheckpointReader({ requireComplete: true });
  readonly #chunks: ReadableStreamDefaultReader<Uint8Array>;
  readonly #batches: AsyncGenerator<Batch | null, CheckpointTrailer>;
  /** A batch that came in one chunk with the header. */
  #first: Batch | null = null;

  /** Begins at the start of the source. */
  constructor(source: RestoreSource, recycle: boolean) {
    this.#chunks = source.stream().getReader();
    this.#batches = readBatches(this.#chunks, this.#reader, recycle);
  }

  /**
   * Reads up to the header.
   *
   * @throws {CheckpointError} If the checkpoint is bad.
   */
  async header(): Promise<DecodedHeader> {
    while (this.#reader.header === null) {
      const { done, value } = await this.#batches.next();
      // What ends before its header is thrown as truncated.
      if (!done) this.#first = value;
    }
    return this.#reader.header;
  }

  /**
   * Gives away all batches, each once the one before was taken.
   *
   * @throws {CheckpointError} If the checkpoint turns out bad.
   */
  async load(give: (batch: Batch) => Promise<void>): Promise<void> {
    if (this.#first !== null) await give(this.#first);
    for (;;) {
      const { done, value } = await this.#batches.next();
      if (done) return;
      if (value !== null) await give(value);
    }
  }

  /** Reads no more. */
  cancel(reason: unknown): void {
    // Not awaited: a read of a pipe that nobody writes to may never end.
    this.#chunks.cancel(reason).catch(() => {});
  }
}
