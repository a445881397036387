/**
 * A simulated driver that blocks until the test lets it go on: `fault=block:${HELD}` of a device
 * whose Worker has the gate.
 */

import { Worker } from "node:worker_threads";
import { until } from "./_until.ts";

/** The duration of a block that lasts until the gate opens. */
export const HELD = "86400s";

const HELD_MS = 86_400_000;

/** How often a driver came to the gate, and whether it is open. */
const COUNT = 0;
const OPEN = 1;

/** A gate between a test and drivers on other threads. */
export class Gate {
  readonly #words = new Int32Array(new SharedArrayBuffer(8));

  /** A Worker that serves a device with this gate. */
  worker(): Worker {
    const script = new URL("./_gated_device_worker.ts", import.meta.url);
    return new Worker(script, { workerData: this.#words.buffer });
  }

  /** What {@linkcode holdAt} needs on the other thread. */
  get memory(): SharedArrayBuffer {
    return this.#words.buffer;
  }

  /** Resolves once drivers have come to the gate this many times. */
  async reached(times = 1): Promise<void> {
    await until(() => Atomics.load(this.#words, COUNT) >= times, "a driver blocks");
  }

  /** Lets the drivers go on: those that block, and those that would. */
  open(): void {
    Atomics.store(this.#words, OPEN, 1);
    Atomics.notify(this.#words, OPEN);
  }
}

/** On a driver's thread: a sleep of {@linkcode HELD} lasts until the gate opens. */
export function holdAt(memory: SharedArrayBuffer): void {
  const gate = new Int32Array(memory);
  const { wait } = Atomics;
  Atomics.wait = ((...args: Parameters<typeof wait>) => {
    if (args[3] !== HELD_MS) return wait(...args);
    Atomics.add(gate, COUNT, 1);
    wait(gate, OPEN, 0);
    return "timed-out" as const;
  }) as typeof wait;
}
