/**
 * Checkpoints taken apart, changed, and put together so that every sum is right again.
 */

import { createHash } from "node:crypto";
import { crc32, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import {
  DATA_META_SIZE,
  FRAME_DATA,
  FRAME_HEADER_SIZE,
  FRAME_TAIL,
  FRAME_ZSTD,
  PREAMBLE_SIZE,
} from "../../src/checkpoint/frames/constants.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A frame; what its header says of it may be something else than what there is. */
export interface Frame {
  type: number;
  flags: number;
  device: number;
  meta: Bytes;
  body: Bytes;
  /** Header fields that are not what they should be, by their offset: 8, 12, 16, 20, 24, 28. */
  readonly lies: Map<number, number>;
}

/** A checkpoint in parts. */
export interface Parts {
  readonly preamble: Bytes;
  frames: Frame[];
}

/** Takes a good checkpoint apart. */
export function takeApart(bytes: Bytes): Parts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: Frame[] = [];
  for (let at = PREAMBLE_SIZE; at < bytes.length;) {
    const meta = at + FRAME_HEADER_SIZE;
    const body = meta + view.getUint32(at + 12, true);
    const end = body + view.getUint32(at + 16, true);
    frames.push({
      type: view.getUint32(at, true),
      flags: view.getUint16(at + 4, true),
      device: view.getUint16(at + 6, true),
      meta: bytes.slice(meta, body),
      body: bytes.slice(body, end),
      lies: new Map(),
    });
    at = end;
  }
  return { preamble: bytes.slice(0, PREAMBLE_SIZE), frames };
}

/** Puts it together: numbers, lengths, sums and chain are right, but for the lies. */
export function putTogether({ preamble, frames }: Parts): Bytes {
  const parts: Bytes[] = [preamble];
  let chain = crc32(preamble.subarray(0, 12));
  for (const [sequence, frame] of frames.entries()) {
    const head = new Uint8Array(FRAME_HEADER_SIZE);
    const view = new DataView(head.buffer);
    const set = (at: number, value: number): void =>
      view.setUint32(at, frame.lies.get(at) ?? value, true);
    view.setUint32(0, frame.type, true);
    view.setUint16(4, frame.flags, true);
    view.setUint16(6, frame.device, true);
    set(8, sequence);
    set(12, frame.meta.length);
    set(16, frame.body.length);
    set(20, crc32(frame.body, crc32(frame.meta)));
    set(24, chain);
    set(28, crc32(head.subarray(0, 28)));
    chain = crc32(head.subarray(0, 24), chain);
    parts.push(head, frame.meta, frame.body);
  }
  return concat(parts);
}

/** Bytes behind each other. */
export function concat(parts: readonly Uint8Array[]): Bytes {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** What a body is before it was compressed; as it is where that cannot be told. */
export function content({ flags, body }: Frame): Bytes {
  if ((flags & FRAME_ZSTD) === 0) return body;
  try {
    return new Uint8Array(zstdDecompressSync(body, { maxOutputLength: 1 << 25 }));
  } catch {
    return body;
  }
}

/** A body compressed. */
export function compressed(bytes: Uint8Array): Bytes {
  return new Uint8Array(zstdCompressSync(bytes));
}

/** The trailer's JSON for what comes before it, as a writer would count. */
export function fittingTail(parts: Parts, devices: number, digest: boolean): Bytes {
  const before = parts.frames.filter(({ type }) => type !== FRAME_TAIL);
  const sums = Array.from({ length: devices }, () => ({ transactions: 0, bytes: 0 }));
  const hash = createHash("sha256");
  for (const frame of before) {
    if (frame.type !== FRAME_DATA || frame.meta.length < DATA_META_SIZE) continue;
    const view = new DataView(frame.meta.buffer, frame.meta.byteOffset, frame.meta.length);
    const bytes = content(frame);
    hash.update(bytes);
    const sum = sums[frame.device];
    if (sum === undefined) continue;
    sum.transactions += view.getUint32(4, true) - (view.getUint8(1) & 1);
    sum.bytes += bytes.length;
  }
  const total = (key: "transactions" | "bytes"): number =>
    sums.reduce((all, sum) => all + sum[key], 0);
  return new TextEncoder().encode(JSON.stringify({
    complete: true,
    frames: before.length,
    storedBytes: putTogether({ ...parts, frames: before }).length,
    transactions: total("transactions"),
    bytes: total("bytes"),
    sha256: digest ? hash.digest("hex") : null,
    devices: sums,
  }));
}
