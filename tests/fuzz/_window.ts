/**
 * What a simulated device is really like: its vendor window says, which no fault touches.
 */

import type { Device } from "../../src/migration/device.ts";
import type { StateName, V1StateName, V2StateName } from "../../src/vfio/state/states.ts";

const V1: readonly V1StateName[] = [
  ...["stop", "running", "stop-and-copy", "pre-copy"] as const,
  ...["resuming", "invalid", "error", "invalid"] as const,
];

const V2: readonly V2StateName[] = [
  ...["error", "stop", "running", "stop-copy"] as const,
  ...["resuming", "running-p2p", "pre-copy", "pre-copy-p2p"] as const,
];

/** A device from behind. */
export interface Truth {
  /** The state that it is in; null where it does not migrate. */
  readonly state: StateName | null;
  /** How often its user broke the protocol. */
  readonly violations: number;
  /** CRC-32 of its state. */
  readonly crc32: number;
}

/** Looks behind a device; null where it is gone, or closed. */
export async function truthOf(device: Device): Promise<Truth | null> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await device.readRegion(0, 0, 40);
  } catch {
    return null;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const number = view.getUint32(28, true);
  const { protocol } = device.description;
  const state = protocol === null ? null : protocol === "v1" ? V1[number & 7]! : V2[number]!;
  return { state, violations: view.getUint32(8, true), crc32: view.getUint32(24, true) };
}
