/**
 * The guest driver's DMA engine: it writes to one page after the other, again and again, while the
 * device runs.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Device } from "../../../mod.ts";
import type { GuestDevice } from "./device.ts";

const PAGE = 4096n;

/** Where an engine writes. */
export interface Engine {
  /** The first page. */
  readonly iova: bigint;
  /** Bytes, in whole pages. */
  readonly size: bigint;
}

/** Waits until the engine has written to its last page, which it finds with other bytes. */
export async function engineWrites(device: Device, { iova, size }: Engine): Promise<void> {
  const last = async (): Promise<number> => (await device.readMemory(iova + size - PAGE, 1))[0]!;
  const before = await last();
  for (let tries = 0; tries < 1200; tries++) {
    if (await last() !== before) return;
    await sleep(50);
  }
  throw new Error("Cannot wait any longer: the device does not write");
}

/** Starts the engine, and waits until it has been everywhere. */
export async function startEngine(
  { dmaFile }: GuestDevice,
  device: Device,
  engine: Engine,
): Promise<void> {
  const { iova, size } = engine;
  writeFileSync(dmaFile, `engine 0x${iova.toString(16)} ${size / PAGE}`);
  await engineWrites(device, engine);
}
