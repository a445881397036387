/**
 * The resuming phase: gives a saved state to a device.
 *
 * @module
 */

import { ask, onClosed } from "../thread/session_client.ts";
import { BatchSender } from "./batch_sender.ts";
import { type Device, interruptOn } from "../device.ts";
import { BATCH_BYTES, isPooled, takeBuffer } from "../../checkpoint/batches/buffer_pool.ts";
import type { Transaction } from "../../checkpoint/batches/transaction.ts";

/** How to resume. */
export interface ResumeOptions {
  /** The device's state afterwards; default `running`. */
  readonly leave?: "running" | "stop" | undefined;
}

/** Collects transactions until a batch is large enough to send. */
class Collector {
  readonly #sender: BatchSender;
  #chunks: Uint8Array<ArrayBuffer>[] = [];
  #length = 0;

  constructor(device: Device) {
    this.#sender = new BatchSender((batch) => ask(device, "push", batch));
  }

  async add({ data, more }: Transaction): Promise<void> {
    if (data.buffer.detached) {
      throw new TypeError("Cannot restore a transaction: its buffer was given back before");
    }
    const last = this.#chunks.at(-1);
    if (
      last !== undefined &&
      (this.#length + data.length > BATCH_BYTES || !this.#together(last, data))
    ) await this.#push(false);
    this.#chunks.push(data);
    this.#length += data.length;
    if (more) await this.#push(true);
  }

  /** A pooled buffer is handed over whole, and alone; others are copied together. */
  #together(a: Uint8Array<ArrayBuffer>, b: Uint8Array<ArrayBuffer>): boolean {
    return a.buffer === b.buffer || !isPooled(a.buffer) && !isPooled(b.buffer);
  }

  /** Sends the rest, and waits until the device has everything. */
  async flush(): Promise<void> {
    if (this.#chunks.length > 0) await this.#push(false);
    await this.#sender.flush();
  }

  /** One buffer with all chunks in it: their own where it may be handed over, else a copy. */
  #bytes(): Uint8Array<ArrayBuffer> {
    const first = this.#chunks[0]!;
    let end = first.byteOffset;
    const adjoining = this.#chunks.every((chunk) => {
      const adjoins = chunk.byteOffset === end;
      end += chunk.length;
      return adjoins;
    });
    if (adjoining && isPooled(first.buffer)) {
      return new Uint8Array(first.buffer, first.byteOffset, this.#length);
    }
    const copy = this.#length <= BATCH_BYTES
      ? takeBuffer().subarray(0, this.#length)
      : new Uint8Array(new ArrayBuffer(this.#length));
    let at = 0;
    for (const chunk of this.#chunks) {
      copy.set(chunk, at);
      at += chunk.length;
    }
    return copy;
  }

  async #push(more: boolean): Promise<void> {
    const batch = { bytes: this.#bytes(), sizes: this.#chunks.map(({ length }) => length), more };
    this.#chunks = [];
    this.#length = 0;
    await this.#sender.push(batch);
  }
}

/**
 * Gives transactions to the device (v1: to 100b, and at the end to 001b), with
 * the sizes and in the order in which they were saved. The device enters
 * RESUMING when the first one is written, and runs once the stream is closed.
 *
 * Aborting the stream resets the device: there is no arc back from RESUMING.
 * So does a failure.
 *
 * @throws {MigrationError} Through the stream, with the device's state.
 *
 * @example
 * ```ts
 * import { openDevice, resume, stopAndCopy } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * await using from = await openDevice("sim:trapped?size=1MiB&seed=1");
 * await using to = await openDevice("sim:trapped?size=1MiB&seed=2");
 * await stopAndCopy(from).pipeTo(resume(to));
 * assert.equal((await to.state()).state, "running");
 * ```
 */
export function resume(
  device: Device,
  options: ResumeOptions = {},
): WritableStream<Transaction> {
  const collector = new Collector(device);
  let begun = false;
  let interruption: Disposable | null = null;
  let stopListening: (() => void) | null = null;

  async function begin(): Promise<void> {
    if (begun) return;
    begun = true;
    await ask(device, "beginRestore");
  }

  return new WritableStream<Transaction>({
    start(controller): void {
      // There may be no writer when the device is closed; a caller that waits for the end gets the
      // error.
      stopListening = onClosed(device, (error) => controller.error(error));
      // The write waits for a driver that takes no data, and abort() would only be called after
      // that.
      interruption = interruptOn(device, controller.signal);
    },
    async write(transaction): Promise<void> {
      await begin();
      await collector.add(transaction);
    },
    async close(): Promise<void> {
      await begin();
      await collector.flush();
      interruption?.[Symbol.dispose]();
      stopListening?.();
      await ask(device, "endRestore", options.leave ?? "running");
    },
    async abort(): Promise<void> {
      interruption?.[Symbol.dispose]();
      stopListening?.();
      if (begun) await device.recover();
    },
  });
}
