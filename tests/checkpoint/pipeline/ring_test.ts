import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Doorbell } from "../../../src/checkpoint/pipeline/doorbell.ts";
import {
  RingConsumer,
  type RingMemory,
  ringMemory,
  RingProducer,
  SLOT_WORDS,
} from "../../../src/checkpoint/pipeline/ring.ts";

function memory(slots: number, slotBytes = 8): RingMemory {
  return ringMemory({ slots, slotBytes }, new Doorbell(), new Doorbell());
}

/** What a ring should do: a queue of numbers. */
interface Model {
  readonly slots: number;
  readonly queue: number[];
  published: number;
  state: "open" | "ended" | "cancelled";
}

interface Real {
  readonly producer: RingProducer;
  readonly consumer: RingConsumer;
}

type Step = fc.Command<Model, Real>;

/** A step, and what must hold after every one. */
function step(
  name: string,
  run: (model: Model, real: Real) => void,
  check: (model: Model) => boolean = () => true,
): Step {
  return {
    check,
    run(model, real): void {
      run(model, real);
      const { producer, consumer } = real;
      const { slots, queue, state } = model;
      assert.equal(producer.claim() === null, queue.length === slots);
      assert.equal(consumer.take()?.words[0] ?? null, queue[0] ?? null);
      assert.equal(consumer.ended, state === "ended" && queue.length === 0);
      assert.equal(producer.cancelled, state === "cancelled");
      assert.equal(consumer.cancelled, state === "cancelled");
    },
    toString: () => name,
  };
}

const STEPS: readonly Step[] = [
  step("publish", (model, { producer }) => {
    const slot = producer.claim()!;
    assert.equal(producer.claim(), slot);
    slot.words[0] = model.published;
    slot.bytes.fill(model.published);
    model.queue.push(model.published++);
    producer.publish();
  }, ({ queue, slots }) => queue.length < slots),
  step("publish where all are full", (_, { producer }) => {
    assert.throws(() => producer.publish(), /Cannot publish a slot: all are full/);
  }, ({ queue, slots }) => queue.length === slots),
  step("release", (model, { consumer }) => {
    const slot = consumer.take()!;
    const number = model.queue.shift()!;
    assert.ok(slot.bytes.every((byte) => byte === number % 256));
    consumer.release();
  }, ({ queue }) => queue.length > 0),
  step("release where none is taken", (_, { consumer }) => {
    assert.throws(() => consumer.release(), /Cannot release a slot: none is taken/);
  }, ({ queue }) => queue.length === 0),
  step("end", (model, { producer }) => {
    if (model.state === "open") model.state = "ended";
    producer.end();
  }),
  step("cancel by the producer", (model, { producer }) => {
    model.state = "cancelled";
    producer.cancel();
  }),
  step("cancel by the consumer", (model, { consumer }) => {
    model.state = "cancelled";
    consumer.cancel();
  }),
];

describe("a ring", () => {
  it("is a queue of as many slots as it has, wherever its counters stand", () => {
    fc.assert(fc.property(
      fc.constantFrom(1, 2, 4, 8),
      fc.constantFrom(0, 0x7fff_fffe, 0xffff_fffd),
      fc.commands(STEPS.map((command) => fc.constant(command)), { size: "+1" }),
      (slots, counter, commands) => {
        const shared = memory(slots);
        new Int32Array(shared.control).fill(counter | 0, 0, 2);
        const real = {
          producer: new RingProducer(shared),
          consumer: new RingConsumer(shared),
        };
        const model: Model = { slots, queue: [], published: 0, state: "open" };
        fc.modelRun(() => ({ model, real }), commands);
      },
    ));
  });

  it("has slots that do not overlap, each with separate words", () => {
    const shared = memory(4, 16);
    const producer = new RingProducer(shared);
    for (let index = 0; index < 4; index++) {
      const slot = producer.claim()!;
      assert.equal(slot.bytes.length, 16);
      assert.equal(slot.words.length, SLOT_WORDS);
      slot.bytes.fill(index + 1);
      slot.words.fill(index + 1);
      producer.publish();
    }
    const expected = [1, 2, 3, 4].flatMap((value) => Array<number>(16).fill(value));
    assert.deepEqual([...new Uint8Array(shared.slots)], expected);
  });

  it("rings the bell of the side that has something to do", () => {
    const producerBell = new Doorbell();
    const consumerBell = new Doorbell();
    const shared = ringMemory({ slots: 1, slotBytes: 1 }, producerBell, consumerBell);
    const producer = new RingProducer(shared);
    const consumer = new RingConsumer(shared);
    const rung = (): number[] =>
      [producerBell, consumerBell].map(({ memory }) => new Int32Array(memory)[0]!);
    assert.deepEqual(rung(), [0, 0]);
    producer.publish();
    assert.deepEqual(rung(), [0, 1]);
    consumer.release();
    assert.deepEqual(rung(), [1, 1]);
    producer.end();
    assert.deepEqual(rung(), [1, 2]);
    consumer.cancel();
    assert.deepEqual(rung(), [2, 3]);
  });

  it("is not made of no slots, of empty ones, or of a number that counters cannot wrap over", () => {
    for (const [slots, bytes] of [[0, 1], [1, 0], [1.5, 1], [-1, 1], [1, NaN], [3, 1]] as const) {
      assert.throws(() => memory(slots, bytes), RangeError);
    }
  });
});
