/**
 * Encodes transactions into a checkpoint, as a stream.
 *
 * @module
 */

import type { Transaction } from "../batches/transaction.ts";
import { CheckpointEncoder, type EncodeOptions } from "./checkpoint_encoder.ts";
import type { CheckpointHeader } from "../metadata/header.ts";

/** Bytes that may wait to be encoded, and again to be written: one batch. */
const WAITING_BYTES = 1 << 20;

/**
 * Makes a stream that takes transactions and gives a checkpoint's bytes. Data is not copied: a
 * chunk may be a view of a transaction's buffer.
 *
 * @throws {TypeError} If a field of the header is invalid; through the stream, if a transaction's
 * device is not in the header or the last transaction is unfinished.
 *
 * @example
 * ```ts
 * import { decodeCheckpoint, encodeCheckpoint } from "vfiokit/checkpoint";
 * import assert from "node:assert/strict";
 *
 * const encoder = encodeCheckpoint({
 *   devices: [{
 *     protocol: "v1", bus: "mdev", driver: "mtty", vendorId: null, deviceId: null,
 *     subsystemVendorId: null, subsystemId: null, mdevType: "mtty-1", region: { type: 1, subtype: 1 },
 *   }],
 *   created: "2026-01-01T00:00:00Z",
 *   tool: "example",
 *   iovaPageSize: null,
 * }, { compress: "zstd", digest: "sha256" });
 * const data = new Uint8Array(new ArrayBuffer(4096));
 * const transactions = ReadableStream.from([
 *   { device: 0, phase: "stop-and-copy" as const, data, more: false },
 * ]);
 *
 * const decoder = decodeCheckpoint();
 * const fed = transactions.pipeThrough(encoder).pipeTo(decoder.writable);
 * for await (const transaction of decoder.readable) assert.deepEqual(transaction.data, data);
 * await fed;
 * assert.equal((await decoder.trailer).bytes, 4096);
 * ```
 */
export function encodeCheckpoint(
  header: CheckpointHeader,
  options: EncodeOptions = {},
): TransformStream<Transaction, Uint8Array<ArrayBuffer>> {
  const encoder = new CheckpointEncoder(header, options);
  return new TransformStream({
    start(controller): void {
      for (const chunk of encoder.begin()) controller.enqueue(chunk);
    },
    transform(transaction, controller): void {
      for (const chunk of encoder.transaction(transaction)) controller.enqueue(chunk);
    },
    flush(controller): void {
      for (const chunk of encoder.end()) controller.enqueue(chunk);
    },
  }, {
    highWaterMark: WAITING_BYTES,
    // At least one, so that empty transactions do not wait forever.
    size: (transaction): number => (transaction?.data.byteLength ?? 0) + 1,
  }, {
    // A batch is encoded while the previous one is written.
    highWaterMark: WAITING_BYTES,
    size: (chunk): number => chunk?.byteLength ?? 0,
  });
}
