/**
 * One checkpoint that several devices write to.
 */

import type { Batch } from "../checkpoint/batches/batch_builder.ts";
import type { Phase } from "../checkpoint/batches/transaction.ts";
import { CheckpointEncoder, type EncodeOptions } from "../checkpoint/format/checkpoint_encoder.ts";
import type { CheckpointHeader } from "../checkpoint/metadata/header.ts";
import type { CheckpointSink } from "./save.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Encodes what comes, in the order in which it comes. Who gives a batch waits
 * until it is written: so there is one a device waiting here, and no more.
 */
export class DevicesWriter {
  readonly #encoder: CheckpointEncoder;
  readonly #writer: WritableStreamDefaultWriter<Bytes>;

  /** Checks the header, and takes the sink's stream. */
  constructor(sink: CheckpointSink, header: CheckpointHeader, options: EncodeOptions) {
    this.#encoder = new CheckpointEncoder(header, { ...options, recycle: true });
    this.#writer = sink.writable.getWriter();
    this.#writer.closed.catch(() => {});
    this.#writer.ready.catch(() => {});
  }

  /** Writes the beginning. */
  begin(): Promise<void> {
    return this.#write(this.#encoder.begin());
  }

  /** Writes a batch of a device; its buffer is not the caller's any more. */
  batch(device: number, phase: Phase, { bytes, sizes, more }: Batch<ArrayBuffer>): Promise<void> {
    return this.#write(this.#encoder.batch({ device, phase, sizes, more, bytes }));
  }

  /** Writes the end; all bytes have been written then. */
  async end(): Promise<void> {
    await this.#write(this.#encoder.end());
    await this.#writer.close();
    this.#writer.releaseLock();
  }

  /** Writes no more. */
  abort(reason: unknown): void {
    // Not awaited: a write to a pipe that nobody reads may never end.
    this.#writer.abort(reason).catch(() => {});
  }

  async #write(chunks: readonly Bytes[]): Promise<void> {
    // All at once: what others give meanwhile comes behind the last.
    await Promise.all(chunks.map((chunk) => this.#writer.write(chunk)));
  }
}
