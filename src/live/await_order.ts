/**
 * Waiting in doubt: until a decision from outside stands in the journal.
 */

import { type Journal, readJournal } from "./commit/journal.ts";
import type { Order } from "./commit/resolve.ts";
import { LiveError } from "./live_error.ts";

/** How often the journal is looked at, in milliseconds. */
const LOOK_MS = 100;

/**
 * Resolves to the order that an operator with both journals has entered in this one, as an event.
 *
 * @param why What this side knows of the other.
 * @param orders The orders that this side takes.
 * @throws {LiveError} `in-doubt` if the signal is aborted, or the journal cannot be read.
 */
export async function untilOrdered<Taken extends Order>(
  { id, path }: Journal,
  why: string,
  orders: readonly Taken[],
  signal: AbortSignal | undefined,
): Promise<`told-${Taken}`> {
  try {
    return `told-${await entered(path, orders, signal)}`;
  } catch (error) {
    throw new LiveError(
      "in-doubt",
      `Migration ${id} is in doubt: ${why}. The devices here stand still, and must not run before ` +
        "that is known",
      `Resolve migration ${id} from the journals of both sides`,
      { cause: error },
    );
  }
}

async function entered<Taken extends Order>(
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
