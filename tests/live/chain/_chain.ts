/**
 * A simulated device that writes to its memory and changes its state until a checkpoint has stopped
 * it, so that what a checkpoint must hold is known.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Kernel } from "../../../src/kernel/kernel.ts";
import { restoreChain, verifyChain } from "../../../src/live/mod.ts";
import { type Device, openDevice } from "../../../src/migration/device.ts";
import { SimKernel } from "../../../src/sim/mod.ts";
import { MIB } from "../_pair.ts";

/** The memory of the devices. */
export const MAPS = [{ iova: MIB, size: 256n * 1024n }, { iova: 64n * MIB, size: 64n * 1024n }];

/** What a device and its memory hold. */
export interface Content {
  readonly checksum: number;
  readonly memory: readonly Uint8Array[];
}

/** A device at work. */
export interface Writer extends AsyncDisposable {
  readonly device: Device;
  readonly kernel: SimKernel;
  /** Lets its time go on until it is next stopped. */
  goOn(): void;
  /** What it holds now. */
  content(): Promise<Content>;
}

/** Opens a device that works whenever it is looked at. */
export async function openWriter(
  spec: string,
  over: (kernel: SimKernel) => Kernel = (kernel) => kernel,
): Promise<Writer> {
  let [now, works] = [0, true];
  let running = (): boolean => true;
  const kernel = SimKernel.withClock(() => {
    if (!running()) works = false;
    return works ? now += 20 : now;
  }, `sim:${spec}`);
  const device = await openDevice(kernel.devices[0]!.path, {
    kernel: over(kernel),
    maps: MAPS,
    tracker: "auto",
  });
  running = () => kernel.devices[0]!.running;
  return {
    device,
    kernel,
    goOn: () => void (works = true),
    content: () => contentOf(device, kernel),
    [Symbol.asyncDispose]: () => device.close(),
  };
}

/** What a device and its memory hold now. */
export async function contentOf(device: Device, kernel: SimKernel): Promise<Content> {
  const memory: Uint8Array[] = [];
  for (const { iova, size } of MAPS) memory.push(await device.readMemory(iova, Number(size)));
  return { memory, checksum: kernel.devices[0]!.checksum() };
}

/** Restores a checkpoint to another device, and returns what that holds. */
export async function restored(folder: string, spec: string, number?: number): Promise<Content> {
  const chain = await verifyChain(folder, { number });
  const kernel = new SimKernel(`sim:${spec}`);
  await using device = await openDevice(kernel.devices[0]!.path, {
    kernel,
    maps: chain.memory[0]!.ranges,
  });
  // What was there before is gone.
  await device.writeMemory(MIB, new Uint8Array(1 << 18).fill(0xee));
  const { devices } = await restoreChain(device, chain);
  assert.equal(devices[0]!.state, "running");
  assert.deepEqual(kernel.devices[0]!.violations, []);
  return await contentOf(device, kernel);
}

/** Compares contents, without a message of a megabyte. */
export function assertSame(found: Content, expected: Content, what: string): void {
  assert.equal(found.checksum, expected.checksum, `${what}: device state`);
  for (const [index, bytes] of expected.memory.entries()) {
    const other = found.memory[index]!;
    if (Buffer.compare(bytes, other) === 0) continue;
    const at = bytes.findIndex((byte, offset) => other[offset] !== byte);
    assert.fail(`${what}: range ${index} differs at ${at}`);
  }
}
