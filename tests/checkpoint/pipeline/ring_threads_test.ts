import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Doorbell } from "../../../src/checkpoint/pipeline/doorbell.ts";
import {
  RingConsumer,
  type RingMemory,
  ringMemory,
} from "../../../src/checkpoint/pipeline/ring.ts";
import type { Outcome, Task } from "./_ring_worker.ts";

/** Runs a task on a thread of its own. */
function run(
  side: Task["side"],
  rings: readonly RingMemory[],
  count: number,
  firstNumber = 0,
): Promise<Outcome> {
  const worker = new Worker(new URL("./_ring_worker.ts", import.meta.url), { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
  worker.onmessage = ({ data }: MessageEvent<Outcome>): void => resolve(data);
  worker.onerror = (event): void => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  const numbered = rings.map((memory, index) => ({ memory, number: firstNumber + index }));
  worker.postMessage({ side, rings: numbered, count } satisfies Task);
  return promise.finally(() => worker.terminate());
}

const COUNT = 5000;

describe("rings between threads", () => {
  for (const slots of [1, 2, 8]) {
    it(`lose nothing from two producers to one consumer, with ${slots} slots`, async () => {
      const consumer = new Doorbell();
      const rings = [0, 1].map(() =>
        ringMemory({ slots, slotBytes: 64 }, new Doorbell(), consumer)
      );
      const outcomes = await Promise.all([
        run("consumer", rings, COUNT),
        ...rings.map((ring, number) => run("producer", [ring], COUNT, number)),
      ]);
      assert.deepEqual(outcomes, ["over", "over", "over"]);
    });

    it(`lose nothing from one producer to two consumers, with ${slots} slots`, async () => {
      const producer = new Doorbell();
      const rings = [0, 1].map(() =>
        ringMemory({ slots, slotBytes: 64 }, producer, new Doorbell())
      );
      const outcomes = await Promise.all([
        run("producer", rings, COUNT),
        ...rings.map((ring, number) => run("consumer", [ring], COUNT, number)),
      ]);
      assert.deepEqual(outcomes, ["over", "over", "over"]);
    });
  }

  it("wake a producer that waits for room, and a consumer that waits for data, when cancelled", async () => {
    for (const side of ["producer", "consumer"] as const) {
      const memory = ringMemory({ slots: 1, slotBytes: 1 }, new Doorbell(), new Doorbell());
      const outcome = run(side, [memory], COUNT);
      const ring = new RingConsumer(memory);
      if (side === "producer") {
        await new Doorbell(memory.consumer).untilAsync(() => ring.take());
      }
      ring.cancel();
      assert.equal(await outcome, "cancelled");
    }
  });

  it("let a thread that waits be terminated", async () => {
    const memory = ringMemory({ slots: 1, slotBytes: 1 }, new Doorbell(), new Doorbell());
    const worker = new Worker(new URL("./_ring_worker.ts", import.meta.url), { type: "module" });
    const rings = [{ memory, number: 0 }];
    worker.postMessage({ side: "producer", rings, count: 2 } satisfies Task);
    const ring = new RingConsumer(memory);
    await new Doorbell(memory.consumer).untilAsync(() => ring.take());
    worker.terminate();
  });
});
