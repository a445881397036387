/**
 * The rings of one checkpoint: from its devices to one writer, or from one
 * reader to them.
 */

import { Doorbell } from "./doorbell.ts";
import { COMPRESSED_SLOT_BYTES, FRAME_SLOT_BYTES } from "./_frame_slot.ts";
import { RingConsumer, type RingMemory, ringMemory, RingProducer } from "./ring.ts";

/** Slots of a device that is alone, and of each of several. */
const SLOTS = 4;
const SLOTS_OF_SEVERAL = 2;

/** More memory than this is not kept for the next checkpoint. */
const MAX_IDLE_BYTES = 16 << 20;

/**
 * Slots that are not in use. V8 does not count shared memory, so it may not
 * collect what is left to it for long.
 */
const idle: SharedArrayBuffer[] = [];

function slotsMemory(byteLength: number): SharedArrayBuffer | undefined {
  const index = idle.findIndex((memory) => memory.byteLength === byteLength);
  return index < 0 ? undefined : idle.splice(index, 1)[0];
}

function rings(
  devices: number,
  slotBytes: number,
  bells: () => { readonly producer: Doorbell; readonly consumer: Doorbell },
): RingMemory[] {
  const slots = devices === 1 ? SLOTS : SLOTS_OF_SEVERAL;
  return Array.from({ length: devices }, () => {
    const { producer, consumer } = bells();
    const memory = slotsMemory(slots * slotBytes);
    return ringMemory({ slots, slotBytes, memory }, producer, consumer);
  });
}

/** Rings from so many devices to one writer. */
export function savingRings(devices: number, compress: boolean): RingMemory[] {
  const consumer = new Doorbell();
  const slotBytes = compress ? COMPRESSED_SLOT_BYTES : FRAME_SLOT_BYTES;
  return rings(devices, slotBytes, () => ({ producer: new Doorbell(), consumer }));
}

/** Rings from one reader to so many devices. */
export function restoringRings(devices: number): RingMemory[] {
  const producer = new Doorbell();
  return rings(devices, FRAME_SLOT_BYTES, () => ({ producer, consumer: new Doorbell() }));
}

/** All devices have given all: no more comes. */
export function endRings(rings: readonly RingMemory[]): void {
  for (const memory of rings) new RingProducer(memory).end();
}

/** Tells all devices, and the writer or reader, that nothing more is wanted. */
export function cancelRings(rings: readonly RingMemory[]): void {
  for (const memory of rings) new RingConsumer(memory).cancel();
}

/** Keeps the memory of rings for the next checkpoint: no thread may use them any more. */
export function releaseRings(rings: readonly RingMemory[]): void {
  let bytes = idle.reduce((sum, { byteLength }) => sum + byteLength, 0);
  for (const { slots } of rings) {
    bytes += slots.byteLength;
    if (bytes <= MAX_IDLE_BYTES) idle.push(slots);
  }
}
