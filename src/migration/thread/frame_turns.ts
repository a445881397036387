/**
 * Turns of a save and a restore on the device's thread: for a while it moves
 * batches between the driver and the device's ring, then it looks for other
 * requests. What lasts from turn to turn is in the ring and in the engine.
 */

import { BatchBuilder } from "../../checkpoint/batches/batch_builder.ts";
import { FrameConsumer } from "../../checkpoint/pipeline/frame_consumer.ts";
import { FrameProducer, type FrameTarget } from "../../checkpoint/pipeline/frame_producer.ts";
import type { RingMemory } from "../../checkpoint/pipeline/ring.ts";
import type { PhaseTimes } from "../../checkpoint/frames/time_frame.ts";
import type { Counters, Engine, PhaseTime } from "../protocol/engine.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";

/** The longest turn, in milliseconds, but for a driver that blocks. */
export const TURN_MS = 100;

/** How a turn ended: there is nothing more, there is, the ring has to move on first, or never will. */
export type Turn = "ended" | "more" | "waiting" | "cancelled";

/** How a phase went that yielded data, and when. */
export interface SavedPhase extends PhaseTime, PhaseTimes {}

/** What a turn works with. */
interface TurnDriver {
  readonly engine: Engine;
  readonly counters: Counters;
}

/** What a turn of a save works with. */
interface SaveDriver extends TurnDriver {
  /** How the phase went, once it has ended. */
  readonly endedPhase: () => SavedPhase;
}

/**
 * Reads the phase under way into frames, and at its end how it went.
 *
 * @param waitMs How long to wait for room in the ring: 0 on a thread that must not block.
 */
export function fillTurn(
  { engine, counters, endedPhase }: SaveDriver,
  target: FrameTarget,
  phase: Phase,
  waitMs: number,
): Exclude<Turn, "ended"> | SavedPhase {
  const frames = new FrameProducer(target);
  const until = performance.now() + TURN_MS;
  do {
    const room = frames.room(waitMs);
    if (room === null) return frames.cancelled ? "cancelled" : "waiting";
    const batch = new BatchBuilder(room);
    const ended = engine.fill(batch);
    const { bytes, sizes, more } = batch.build();
    if (sizes.length > 0) frames.frame({ phase, sizes, more, length: bytes.length });
    else if (ended) {
      // The room is free: the engine has no more to give, however often it is asked.
      const saved = endedPhase();
      frames.times(saved);
      return saved;
    }
  } while (performance.now() < until && !counters.interrupted);
  return "more";
}

/** Gives frames to a device in RESUMING; see {@linkcode fillTurn}. */
export function takeTurn(
  { engine, counters }: TurnDriver,
  ring: RingMemory,
  waitMs: number,
): Turn {
  const frames = new FrameConsumer(ring);
  const until = performance.now() + TURN_MS;
  do {
    const batch = frames.batch(waitMs);
    if (batch === null) return "waiting";
    if (typeof batch === "string") return batch;
    engine.load(batch);
    frames.release();
  } while (performance.now() < until && !counters.interrupted);
  return "more";
}
