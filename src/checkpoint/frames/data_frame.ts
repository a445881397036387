/**
 * The meta part of a DATA frame: phase, time, and the table of sizes.
 */

import type { Phase } from "../batches/transaction.ts";
import type { Batch } from "../batches/batch.ts";
import { DATA_META_SIZE, DATA_MORE, FRAME_HEADER_SIZE, MAX_ENTRIES } from "./constants.ts";

const PHASES: readonly Phase[] = ["pre-copy", "stop-and-copy"];

/** The length of a DATA frame's head: its header, and the meta part for so many transactions. */
export function batchHeadSize(transactions: number): number {
  return FRAME_HEADER_SIZE + DATA_META_SIZE + 4 * transactions;
}

/** Writes a DATA frame's meta part into its head, behind room for the frame's header. */
export function writeBatchMeta(head: Uint8Array, batch: Omit<Batch, "bytes" | "device">): void {
  const { sizes } = batch;
  const at = head.byteOffset + FRAME_HEADER_SIZE;
  const view = new DataView(head.buffer, at);
  view.setUint8(0, 1 + PHASES.indexOf(batch.phase));
  view.setUint8(1, batch.more ? DATA_MORE : 0);
  view.setUint16(2, 0, true);
  view.setUint32(4, sizes.length, true);
  view.setUint32(8, batch.micros % 2 ** 32, true);
  view.setUint32(12, Math.floor(batch.micros / 2 ** 32), true);
  // Deno and Bun run on little endian machines alone.
  new Uint32Array(head.buffer, at + DATA_META_SIZE, sizes.length).set(sizes);
}

/** A DATA frame's head as it is written, but for the frame's header. */
export function packBatchHead(batch: Omit<Batch, "bytes">): Uint8Array<ArrayBuffer> {
  const head = new Uint8Array(new ArrayBuffer(batchHeadSize(batch.sizes.length)));
  writeBatchMeta(head, batch);
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
export function parseBatchMeta(meta: Uint8Array): BatchMeta | string {
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
