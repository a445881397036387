/**
 * Transactions as a DATA frame holds them: one behind the other, with a table of sizes.
 *
 * @module
 */

import type { Phase, Transaction } from "./transaction.ts";

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
  /** When its last transaction came, in microseconds since the checkpoint was begun. */
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
 * const batch = { device: 0, phase: "pre-copy", sizes: [2, 1], more: true, bytes } as const;
 * const [first, second] = [...batchTransactions(batch)];
 * assert.deepEqual([first?.data.length, first?.more], [2, false]);
 * assert.deepEqual([second?.data.length, second?.more], [1, true]);
 * ```
 */
export function* batchTransactions(batch: Omit<Batch, "micros">): Generator<Transaction> {
  const { device, phase, sizes, bytes } = batch;
  let at = 0;
  for (let index = 0; index < sizes.length; index++) {
    const size = sizes[index]!;
    const more = batch.more && index === sizes.length - 1;
    yield { device, phase, data: bytes.subarray(at, at + size), more };
    at += size;
  }
}
