/**
 * Waiting in doubt: until a decision from outside stands in the journal.
 */

import { readJournal } from "./commit/journal.ts";
import type { Order } from "./commit/resolve.ts";

/** How often the journal is looked at, in milliseconds. */
const LOOK_MS = 100;

/**
 * Resolves to the order that an operator with both journals has entered in this one.
 *
 * @param orders The orders that this side takes.
 * @throws What the signal was aborted with.
 */
export async function untilOrdered<Taken extends Order>(
  path: string,
  orders: readonly Taken[],
  signal: AbortSignal | undefined,
): Promise<Taken> {
  for (;;) {
    signal?.throwIfAborted();
    const last = readJournal(path).entries.at(-1);
    const order = orders.find((each) => each === last);
    if (order !== undefined) return order;
    await new Promise((wake) => setTimeout(wake, LOOK_MS));
  }
}
