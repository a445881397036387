/**
 * A copy of what a migration brings, as one checkpoint of devices and memory.
 */

import { InOrder } from "../base/in_order.ts";
import type { Batch } from "../checkpoint/batches/batch.ts";
import type { CheckpointFile } from "../checkpoint/file/checkpoint_file.ts";
import { CheckpointEncoder } from "../checkpoint/format/checkpoint_encoder.ts";
import type { Pages } from "../checkpoint/format/checkpoint_reader.ts";
import { FRAME_HEADER_SIZE, FRAME_OPTIONAL, FRAME_PAGE } from "../checkpoint/frames/constants.ts";
import { describeFrame } from "../checkpoint/frames/frame_writer.ts";
import type { CheckpointHeader } from "../checkpoint/metadata/header.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Writes what comes to a file, each stream of it in its order. */
export class Tee {
  readonly #file: CheckpointFile;
  #encoder: CheckpointEncoder | null = null;
  readonly #writing = new InOrder();

  /** The file is the caller's: what is not committed is left to it. */
  constructor(file: CheckpointFile) {
    this.#file = file;
  }

  /** Writes the beginning. */
  begin(header: CheckpointHeader): Promise<void> {
    this.#encoder = new CheckpointEncoder(header);
    return this.#write(this.#encoder.begin());
  }

  /** Copies device data; the batch may be given away at once. */
  batch(batch: Batch): Promise<void> {
    const { device, phase, more } = batch;
    const { sizes } = batch;
    const bytes = batch.bytes.slice();
    return this.#write(this.#encoder!.batch({ device, phase, sizes, more, bytes }));
  }

  /** Copies memory; the same. */
  pages({ device, meta, body }: Pages): Promise<void> {
    const head = new Uint8Array(new ArrayBuffer(FRAME_HEADER_SIZE + meta.length));
    head.set(meta, FRAME_HEADER_SIZE);
    const own = body.slice();
    describeFrame(head, { type: FRAME_PAGE, flags: FRAME_OPTIONAL, device }, own);
    return this.#write([...this.#encoder!.place(head, own.length), head, own]);
  }

  /** Writes the end, and syncs the file; it has no name yet. */
  async end(): Promise<void> {
    await this.#write(this.#encoder!.end());
    await this.#file.readBack?.sync();
  }

  /** Gives the file its name. */
  commit(): Promise<void> {
    return this.#file.commit();
  }

  #write(parts: readonly Bytes[]): Promise<void> {
    return this.#writing.run(async () => {
      for (const part of parts) if (part.length > 0) await this.#file.write(part);
    });
  }
}
