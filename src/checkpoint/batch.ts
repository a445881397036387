/**
 * Transactions as a DATA frame holds them: one behind the other, with a table of sizes.
 *
 * @module
 */

import type { Phase, Transaction } from "../migration/types.ts";
import { DATA_META_SIZE, DATA_MORE, FRAME_HEADER_SIZE, MAX_ENTRIES } from "./format.ts";

/** Transactions of one device and one phase whose bytes lie one behind the other. */
export interface Batch {
  /** The number of the device in the checkpoint. */
  readonly device: number;
  /** The phase that yielded them. */
  readonly phase: Phase;
  /** The size of each, in bytes; the first may go on with what the device's last batch left open. */
  readonly sizes: ArrayLike<number>;
  /** Whether the last one goes on in the device's next batch. */
  readonly more: boolean;
  /** When the batch was full, in microseconds since the checkpoint was begun. */
  readonly micros: number;
  /** The bytes of all of them. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Cuts a batch into its transactions, views of its bytes.
 *
 * @example
 * ```ts
 * import { batchTransactions } from "./batch.ts";
 * import assert from "node:assert/strict";
 *
 * const bytes = new Uint8Array([1, 2, 3]);
 * const batch = { device: 0, phase: "pre-copy", sizes: [2, 1], more: true, micros: 0, bytes } as const;
 * const [first, second] = [...batchTransactions(batch)];
 * assert.deepEqual([first?.data.length, first?.more], [2, false]);
 * assert.deepEqual([second?.data.length, second?.more], [1, true]);
 * ```
 */
export function* batchTransactions(batch: Batch): Generator<Transaction> {
  const { device, phase, sizes, bytes } = batch;
  let at = 0;
  for (let index = 0; index < sizes.length; index++) {
    const size = sizes[index]!;
    const more = batch.more && index === sizes.length - 1;
    yield { device, phase, data: bytes.subarray(at, at + size), more };
    at += size;
  }
}

const PHASES: readonly Phase[] = ["pre-copy", "stop-and-copy"];

/** A DATA frame's meta part as it is written, behind room for the frame's header. */
export function packBatchHead(batch: Batch): Uint8Array<ArrayBuffer> {
  const { sizes } = batch;
  const head = new Uint8Array(
    new ArrayBuffer(FRAME_HEADER_SIZE + DATA_META_SIZE + 4 * sizes.length),
  );
  const view = new DataView(head.buffer, FRAME_HEADER_SIZE);
  view.setUint8(0, 1 + PHASES.indexOf(batch.phase));
  view.setUint8(1, batch.more ? DATA_MORE : 0);
  view.setUint32(4, sizes.length, true);
  view.setUint32(8, batch.micros % 2 ** 32, true);
  view.setUint32(12, Math.floor(batch.micros / 2 ** 32), true);
  // Deno and Bun run on little endian machines alone.
  new Uint32Array(head.buffer, FRAME_HEADER_SIZE + DATA_META_SIZE).set(sizes);
  return head;
}

/** A DATA frame's meta part as read, and the length of the content that it declares. */
export interface BatchMeta {
  readonly phase: Phase;
  readonly sizes: Uint32Array<ArrayBuffer>;
  readonly more: boolean;
  readonly micros: number;
  readonly length: number;
}

/** Reads a DATA frame's meta part; a string says what is wrong with it. */
export function parseBatchMeta(meta: Uint8Array<ArrayBuffer>): BatchMeta | string {
  if (meta.length < DATA_META_SIZE) return `a meta part of ${meta.length} bytes`;
  const view = new DataView(meta.buffer, meta.byteOffset, meta.length);
  const phase = PHASES[view.getUint8(0) - 1];
  if (phase === undefined) return `phase ${view.getUint8(0)}`;
  const flags = view.getUint8(1);
  if ((flags & ~DATA_MORE) !== 0 || view.getUint16(2, true) !== 0) return "unknown flags";
  const count = view.getUint32(4, true);
  if (count < 1 || count > MAX_ENTRIES || meta.length !== DATA_META_SIZE + 4 * count) {
    return `${count} transactions in a meta part of ${meta.length} bytes`;
  }
  const micros = view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32;
  if (!Number.isSafeInteger(micros)) return "a time beyond all measure";
  const sizes = new Uint32Array(count);
  new Uint8Array(sizes.buffer).set(meta.subarray(DATA_META_SIZE));
  let length = 0;
  for (let index = 0; index < count; index++) length += sizes[index]!;
  return { phase, sizes, more: flags === DATA_MORE, micros, length };
}
