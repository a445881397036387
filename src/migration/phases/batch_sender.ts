/**
 * Sends batches to a device that takes them at its own pace.
 */

import type { FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import { BATCH_BYTES } from "../../checkpoint/batches/buffer_pool.ts";

/** Maximum number of batches under way. */
const AHEAD = 3;

/** Sends batches, a few ahead of the device, and no more bytes than those batches may have. */
export class BatchSender {
  readonly #send: (batch: FilledBatch<ArrayBuffer>) => Promise<void>;
  readonly #sent: { readonly taken: Promise<void>; readonly bytes: number }[] = [];
  #bytes = 0;

  /** `send` resolves once the device has the batch. */
  constructor(send: (batch: FilledBatch<ArrayBuffer>) => Promise<void>) {
    this.#send = send;
  }

  /** Sends a batch; resolves once there is room for the next. A failure may come with a later one. */
  async push(batch: FilledBatch<ArrayBuffer>): Promise<void> {
    const bytes = batch.bytes.length;
    while (this.#sent.length > 0 && this.#bytes + bytes > AHEAD * BATCH_BYTES) await this.#wait();
    const taken = this.#send(batch);
    // A later await takes it; until then, it must not count as unhandled.
    taken.catch(() => {});
    this.#sent.push({ taken, bytes });
    this.#bytes += bytes;
    if (this.#sent.length >= AHEAD) await this.#wait();
  }

  /** Resolves once the device has everything. */
  async flush(): Promise<void> {
    while (this.#sent.length > 0) await this.#wait();
  }

  async #wait(): Promise<void> {
    const { taken, bytes } = this.#sent.shift()!;
    this.#bytes -= bytes;
    await taken;
  }
}
