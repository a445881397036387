/**
 * A phase that gives data, as a stream.
 */

import type { FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import type { PrecopyLimits } from "../protocol/engine.ts";
import { batchTransactions } from "../../checkpoint/batches/batch.ts";
import { ask, onClosed } from "../thread/session_client.ts";
import { phaseBatches } from "./phase_batches.ts";
import type { Device } from "../device.ts";
import type { Phase, Transaction } from "../../checkpoint/batches/transaction.ts";

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
  let batches: AsyncGenerator<FilledBatch<ArrayBuffer>> | null = null;
  let stopListening: (() => void) | null = null;
  return new ReadableStream<Transaction>({
    start(controller): void {
      // There may be no reader when the device is closed; a caller that waits for the end gets the
      // error.
      stopListening = onClosed(device, (error) => controller.error(error));
    },
    async pull(controller): Promise<void> {
      try {
        if (batches === null) {
          batches = phaseBatches(device);
          await ask(device, "beginSave", phase, limits);
        }
        const { done, value: batch } = await batches.next();
        if (done) {
          stopListening?.();
          controller.close();
        } else {for (const transaction of batchTransactions({ device: 0, phase, ...batch })) {
            controller.enqueue(transaction);
          }}
      } catch (error) {
        stopListening?.();
        throw error;
      }
    },
    async cancel(): Promise<void> {
      stopListening?.();
      if (batches !== null) await device.recover();
    },
  }, { highWaterMark: 0 });
}
