/**
 * A phase that yields data, as a stream.
 */

import { batchLength } from "./_batch.ts";
import type { PrecopyLimits } from "./_engine.ts";
import type { Pulled } from "./_session.ts";
import { ask } from "./_host.ts";
import type { Device } from "./device.ts";
import { recycle, takeBuffer } from "./pool.ts";
import type { Phase, Transaction } from "./types.ts";

/**
 * Batches asked for ahead of the reader, so that the device is read while the
 * last batch is written out.
 */
const AHEAD = 3;

/** Cuts a batch into its transactions: views of one buffer. */
function* transactions(phase: Phase, { batch }: Pulled): Generator<Transaction> {
  let at = 0;
  for (let index = 0; index < batch.sizes.length; index++) {
    const size = batch.sizes[index]!;
    yield {
      device: 0,
      phase,
      data: batch.bytes.subarray(at, at + size),
      more: batch.more && index === batch.sizes.length - 1,
    };
    at += size;
  }
}

/**
 * The stream of a phase. The device enters the phase when the stream is first
 * read; a cancelled stream brings it back to RUNNING, and so has the session
 * by the time it reports a failure.
 */
export function phaseSource(
  device: Device,
  phase: Phase,
  limits: PrecopyLimits,
): ReadableStream<Transaction> {
  const asked: Promise<Pulled>[] = [];
  let begun = false;

  function askAhead(): void {
    const pulled = ask(device, "pull", takeBuffer());
    // A rejection is taken up where the answer is awaited; those behind it
    // must not count as unhandled.
    pulled.catch(() => {});
    asked.push(pulled);
  }

  return new ReadableStream<Transaction>({
    async pull(controller): Promise<void> {
      if (!begun) {
        begun = true;
        await ask(device, "beginSave", phase, limits);
      }
      for (;;) {
        while (asked.length < AHEAD) askAhead();
        const pulled = await asked.shift()!;
        for (const transaction of transactions(phase, pulled)) controller.enqueue(transaction);
        const empty = batchLength(pulled.batch.sizes) === 0;
        if (empty) recycle(pulled.batch.bytes.buffer);
        if (pulled.ended) {
          // Those asked for ahead are answered, empty, before the phase counts as over.
          for (const { batch } of await Promise.all(asked)) recycle(batch.bytes.buffer);
          controller.close();
          return;
        }
        if (!empty) return;
      }
    },
    async cancel(): Promise<void> {
      if (begun) await device.recover();
    },
  }, { highWaterMark: 0 });
}
