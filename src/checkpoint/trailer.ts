/**
 * A checkpoint's trailer: what must have come before it.
 *
 * @module
 */

import { type Fields, parseFields } from "./_fields.ts";
import { MAX_DEVICES } from "./format.ts";

/** What a checkpoint holds of one device. */
export interface DeviceTotals {
  /** Transactions: iterations of the protocol. */
  readonly transactions: number;
  /** Bytes of device state, uncompressed. */
  readonly bytes: number;
}

/** The end of a whole checkpoint. */
export interface CheckpointTrailer {
  /** Whether a restore may use it; false where it was written by the pre-copy phase alone. */
  readonly complete: boolean;
  /** Frames before the trailer. */
  readonly frames: number;
  /** Bytes before the trailer's frame, preamble included. */
  readonly storedBytes: number;
  /** Transactions of all devices. */
  readonly transactions: number;
  /** Bytes of all devices' state, uncompressed. */
  readonly bytes: number;
  /** SHA-256 of all device state in the order of the stream, uncompressed, in hex; null for none. */
  readonly sha256: string | null;
  /** The same by device, in the header's order. */
  readonly devices: readonly DeviceTotals[];
}

function readDigest(fields: Fields): string | null {
  return fields.nullable("sha256", (key) => fields.text(key, 64));
}

/** A trailer from a TAIL frame; throws FieldError. */
export function parseTrailer(bytes: Uint8Array): CheckpointTrailer {
  const fields = parseFields(bytes);
  return {
    complete: fields.flag("complete"),
    frames: fields.count("frames"),
    storedBytes: fields.count("storedBytes"),
    transactions: fields.count("transactions"),
    bytes: fields.count("bytes"),
    sha256: readDigest(fields),
    devices: fields.list("devices", MAX_DEVICES).map((device) => ({
      transactions: device.count("transactions"),
      bytes: device.count("bytes"),
    })),
  };
}

/** How a trailer differs from what was counted while reading, in words; empty where it does not. */
export function compareTrailers(said: CheckpointTrailer, counted: CheckpointTrailer): string[] {
  const differences: string[] = [];
  const compare = (name: string, a: unknown, b: unknown): void => {
    if (a !== b) differences.push(`${name} is ${a} in the trailer and ${b} before it`);
  };
  compare("complete", said.complete, counted.complete);
  compare("frames", said.frames, counted.frames);
  compare("storedBytes", said.storedBytes, counted.storedBytes);
  compare("transactions", said.transactions, counted.transactions);
  compare("bytes", said.bytes, counted.bytes);
  compare("the number of devices", said.devices.length, counted.devices.length);
  for (const [index, device] of counted.devices.entries()) {
    const claim = said.devices[index];
    compare(`devices[${index}].transactions`, claim?.transactions, device.transactions);
    compare(`devices[${index}].bytes`, claim?.bytes, device.bytes);
  }
  return differences;
}
