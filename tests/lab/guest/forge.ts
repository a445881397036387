/**
 * Checkpoints taken apart, and made of what no device ever gave.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { writeFileSync } from "node:fs";
import {
  decodeCheckpoint,
  type DeviceIdentity,
  encodeCheckpoint,
} from "../../../src/checkpoint/mod.ts";
import { openCheckpointFile, type Transaction } from "../../../mod.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What a checkpoint of one device is of, and the device's state in it. */
export interface Content {
  /** What was saved. */
  readonly identity: DeviceIdentity;
  /** Its state, the phases one behind the other. */
  readonly state: Bytes;
}

/** Reads a checkpoint of one device. */
export async function contentOf(file: string): Promise<Content> {
  await using source = await openCheckpointFile(file);
  const decoder = decodeCheckpoint();
  const fed = source.stream().pipeTo(decoder.writable);
  const parts: Bytes[] = [];
  for await (const { data } of decoder.readable) parts.push(data.slice());
  await fed;
  const [identity] = (await decoder.header).devices;
  return { identity: identity!, state: new Uint8Array(Buffer.concat(parts)) };
}

/** Writes a checkpoint that is good, whatever the state in it is. */
export async function forge(file: string, { identity, state }: Content): Promise<void> {
  const transaction: Transaction = { device: 0, phase: "stop-and-copy", data: state, more: false };
  const pieces = ReadableStream.from([transaction]).pipeThrough(encodeCheckpoint({
    devices: [identity],
    created: new Date().toISOString(),
    tool: "lab",
    iovaPageSize: null,
  }));
  writeFileSync(file, Buffer.concat(await Array.fromAsync(pieces)));
}
