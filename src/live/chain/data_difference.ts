/**
 * How the data of one device differs between two checkpoints, transaction by transaction.
 */

import { Buffer } from "node:buffer";
import type { Phase, Transaction } from "../../checkpoint/batches/transaction.ts";

/** A transaction that differs. */
export interface DifferentTransaction {
  /** Its number among those of the device, from 0. */
  readonly transaction: number;
  /** Its phase in the first checkpoint, and in the second; null where it is not there. */
  readonly phases: readonly [Phase | null, Phase | null];
  /** Its bytes in the first checkpoint, and in the second. */
  readonly sizes: readonly [number, number];
  /** How many bytes differ, those included that only one of them has. */
  readonly different: number;
}

/** How much was compared, and what differs. */
export interface DataDifference {
  /** Transactions in the first checkpoint, and in the second. */
  readonly transactions: readonly [number, number];
  /** The transactions that differ. */
  readonly different: readonly DifferentTransaction[];
}

/** The parts of a device's transactions, one after the other. */
class Parts {
  readonly #source: AsyncIterator<Transaction>;
  /** The number of the transaction that the next bytes are of. */
  number = 0;
  phase: Phase | null = null;
  /** What is left of the part under way; null at the end. */
  rest: Uint8Array | null = new Uint8Array(0);
  /** Whether the part under way is the last of its transaction. */
  #last = false;
  #begun = false;

  constructor(source: AsyncIterable<Transaction>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Transactions that were begun. */
  get count(): number {
    return this.#begun ? this.number + (this.rest === null ? 0 : 1) : 0;
  }

  /** Takes the next part once there is nothing left of this one. */
  async advance(): Promise<void> {
    if (this.rest === null || this.rest.length > 0) return;
    const { done, value } = await this.#source.next();
    if (this.#last) this.number += 1;
    if (done) {
      this.rest = null;
      return;
    }
    const { data, more, phase } = value;
    this.#begun = true;
    [this.rest, this.phase, this.#last] = [data, phase, !more];
  }

  take(length: number): Uint8Array {
    const taken = this.rest!.subarray(0, length);
    this.rest = this.rest!.subarray(length);
    return taken;
  }

  close(): Promise<unknown> {
    return this.#source.return?.() ?? Promise.resolve();
  }
}

/** Compares the transactions of a device, given one after the other. */
export async function compareData(
  first: AsyncIterable<Transaction>,
  second: AsyncIterable<Transaction>,
): Promise<DataDifference> {
  const [one, two] = [new Parts(first), new Parts(second)];
  const found = new Found();
  try {
    for (;;) {
      await one.advance();
      await two.advance();
      if (one.rest === null && two.rest === null) break;
      // The one that is behind goes on by itself: the other has no more of that transaction.
      const behind = two.rest === null || one.rest !== null && one.number <= two.number;
      const ahead = one.rest === null || two.rest !== null && two.number <= one.number;
      const [a, b] = [behind ? one : null, ahead ? two : null];
      const length = Math.min(a?.rest?.length ?? Infinity, b?.rest?.length ?? Infinity);
      found.add((a ?? b)!.number, a, b, length);
    }
  } finally {
    await Promise.all([one.close(), two.close()]);
  }
  found.end();
  return { transactions: [one.count, two.count], different: found.transactions };
}

/** What was found, transaction by transaction. */
class Found {
  readonly transactions: DifferentTransaction[] = [];
  #last: DifferentTransaction | null = null;

  add(transaction: number, a: Parts | null, b: Parts | null, length: number): void {
    if (this.#last?.transaction !== transaction) {
      this.end();
      this.#last = { transaction, phases: [null, null], sizes: [0, 0], different: 0 };
    }
    const { phases, sizes, different } = this.#last!;
    const [one, two] = [a?.take(length), b?.take(length)];
    this.#last = {
      transaction,
      phases: [a?.phase ?? phases[0], b?.phase ?? phases[1]],
      sizes: [sizes[0] + (one?.length ?? 0), sizes[1] + (two?.length ?? 0)],
      different: different +
        (one === undefined || two === undefined ? length : differentBytes(one, two)),
    };
  }

  end(): void {
    const last = this.#last;
    if (last === null) return;
    if (last.different > 0 || last.phases[0] !== last.phases[1]) this.transactions.push(last);
    this.#last = null;
  }
}

function differentBytes(one: Uint8Array, two: Uint8Array): number {
  if (Buffer.compare(one, two) === 0) return 0;
  let count = 0;
  for (let at = 0; at < one.length; at++) if (one[at] !== two[at]) count += 1;
  return count;
}
