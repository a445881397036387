/**
 * Reads a session's dirty pages round by round and reports each round.
 *
 * @module
 */

import type { DirtySession } from "../../src/dirty/mod.ts";
import { pause } from "./measured_span.ts";
import { type WatchRound, WatchRounds } from "./rounds.ts";
import { mapOf } from "./open_session.ts";

/** How to watch. */
export interface WatchOptions {
  /** Milliseconds from one read to the next. */
  readonly every: number;
  /** Number of reads; without it, reads until `stop` is aborted. */
  readonly rounds?: number | undefined;
  /** Ends the watch; the pages dirtied up to then are read. */
  readonly stop: AbortSignal;
}

/** A last read sooner than this would show nothing, in milliseconds. */
const LEAST_MS = 1;

/**
 * Reads round by round; tracking has started. After a late read, the next one is on time again.
 */
export async function* watch(
  session: DirtySession,
  { every, rounds = Number.POSITIVE_INFINITY, stop }: WatchOptions,
): AsyncGenerator<WatchRound, void, void> {
  const counted = new WatchRounds(mapOf(session));
  const started = performance.now();
  let due = started;
  let last = started;
  for (let round = 1; round <= rounds && !stop.aborted; round++) {
    due = Math.max(due + every, last + LEAST_MS);
    await pause(due - performance.now(), stop);
    const now = performance.now();
    if (now - last < LEAST_MS) return;
    last = now;
    yield counted.add(session.tracker.read({ twice: true }), (now - started) / 1000);
  }
}
