import assert from "node:assert/strict";
import { it } from "node:test";
import { slotFrame } from "../../../src/checkpoint/pipeline/_frame_slot.ts";
import { FrameProducer } from "../../../src/checkpoint/pipeline/frame_producer.ts";
import { RingConsumer } from "../../../src/checkpoint/pipeline/ring.ts";
import { FRAME_HEADER_SIZE } from "../../../src/checkpoint/frames/constants.ts";
import { parseTimes, type PhaseTimes } from "../../../src/checkpoint/frames/time_frame.ts";
import { savingRings } from "./_io.ts";

for (const compress of [false, true]) {
  const kind = compress ? "compressed" : "plain";
  it(`a slot has room for the longest pre-copy that a report has: ${kind}`, () => {
    const [ring] = savingRings(1, 1, compress);
    // Each number is as long as it gets in JSON.
    const round = {
      pending: 2 * Number(2n ** 64n - 1n),
      bytes: Number.MAX_SAFE_INTEGER,
      seconds: 1.2345678901234567e-6,
    };
    const times: PhaseTimes = {
      phase: "pre-copy",
      seconds: 1000.0000000000001,
      precopy: { rounds: Array(1000).fill(round), ended: "rounds", pending: round.pending },
      downtime: [],
    };
    const producer = new FrameProducer({ ring: ring!, device: 0, begun: 0, compress });
    assert.ok(producer.room(0));
    producer.times(times);
    const { head, body } = slotFrame(new RingConsumer(ring!).take()!);
    assert.deepEqual(parseTimes(head.slice(FRAME_HEADER_SIZE)), times);
    assert.equal(body.length, 0);
  });
}
