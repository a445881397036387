/**
 * A trailer from JSON that came from outside, and whether it fits.
 */

import { type Fields, parseFields } from "./json_fields.ts";
import { MAX_DEVICES } from "../frames/constants.ts";
import type { CheckpointTrailer } from "./trailer.ts";

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

/** How a trailer differs from what was counted while reading, in words; empty if it does not. */
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
    // A missing one is reported by the number of devices.
    if (claim === undefined) continue;
    compare(`devices[${index}].transactions`, claim.transactions, device.transactions);
    compare(`devices[${index}].bytes`, claim.bytes, device.bytes);
  }
  return differences;
}
