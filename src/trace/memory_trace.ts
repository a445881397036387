/**
 * A trace that is kept in memory.
 *
 * @module
 */

import type { TraceEvent, TraceSink } from "./event.ts";

/**
 * Keeps the events of a {@linkcode TraceKernel} in memory: the latest ones, if there are more than
 * it may keep.
 *
 * @example
 * ```ts
 * import { MemoryTrace, TraceKernel } from "vfiokit/trace";
 * import { SimKernel } from "vfiokit/sim";
 * import assert from "node:assert/strict";
 *
 * const trace = new MemoryTrace();
 * const kernel = new TraceKernel(new SimKernel("sim:mlx5"), trace);
 * kernel.close(kernel.open("/dev/vfio/vfio", 2));
 * assert.deepEqual(trace.take().map(({ call, file }) => [call, file]), [
 *   ["open", undefined],
 *   ["close", "/dev/vfio/vfio"],
 * ]);
 * assert.deepEqual(trace.events, []);
 * ```
 */
export class MemoryTrace implements TraceSink {
  readonly #limit: number;
  #events: TraceEvent[] = [];
  #dropped = 0;

  /** Keeps at least the `limit` latest events, and less than twice as many. */
  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  /** The events that are kept, oldest first. */
  get events(): readonly TraceEvent[] {
    return this.#events;
  }

  /** How many older ones are not kept any more, since the last {@linkcode MemoryTrace.take}. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds an event. */
  event(event: TraceEvent): void {
    this.#events.push(event);
    if (this.#events.length < 2 * this.#limit) return;
    this.#dropped += this.#limit;
    this.#events = this.#events.slice(this.#limit);
  }

  /** Returns what is kept, and begins anew. */
  take(): readonly TraceEvent[] {
    const events = this.#events;
    this.#events = [];
    this.#dropped = 0;
    return events;
  }
}
