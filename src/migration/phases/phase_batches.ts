/**
 * The batches of a phase, read ahead of the consumer.
 */

import { batchLength, type FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import { ask } from "../thread/session_client.ts";
import type { PulledBatch } from "../thread/session.ts";
import type { Device } from "../device.ts";
import { recycle, takeBuffer } from "../../checkpoint/batches/buffer_pool.ts";

/**
 * Batches that are requested ahead, so that the device is read while the last batch is written.
 */
const AHEAD = 3;

function askAhead(device: Device): Promise<PulledBatch> {
  const pulled = ask(device, "pull", takeBuffer());
  // The rejection is handled where the answer is awaited; those after it must not count as
  // unhandled.
  pulled.catch(() => {});
  return pulled;
}

/** The batches of the phase that the device has entered, without empty ones. */
export async function* phaseBatches(device: Device): AsyncGenerator<FilledBatch<ArrayBuffer>> {
  const asked: Promise<PulledBatch>[] = [];
  for (let ended = false; !ended;) {
    while (asked.length < AHEAD) asked.push(askAhead(device));
    const pulled = await asked.shift()!;
    ended = pulled.ended;
    if (batchLength(pulled.batch.sizes) === 0) recycle(pulled.batch.bytes.buffer);
    else yield pulled.batch;
  }
  // Batches that were requested ahead are answered, empty, before the phase counts as over.
  for (const { batch } of await Promise.all(asked)) recycle(batch.bytes.buffer);
}
