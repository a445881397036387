/**
 * Checkpoints taken apart, put together wrongly, and read.
 */

import { describeFrame, FrameWriter } from "../../src/checkpoint/frames/frame_writer.ts";
import { type Batch, batchTransactions } from "../../src/checkpoint/batches/batch.ts";
import {
  CheckpointEncoder,
  type EncodeOptions,
} from "../../src/checkpoint/format/checkpoint_encoder.ts";
import {
  CheckpointError,
  type CheckpointErrorCode,
} from "../../src/checkpoint/checkpoint_error.ts";
import {
  FRAME_DATA,
  FRAME_HEAD,
  FRAME_HEADER_SIZE,
  FRAME_TAIL,
  PREAMBLE_SIZE,
} from "../../src/checkpoint/frames/constants.ts";
import type { CheckpointHeader } from "../../src/checkpoint/metadata/header.ts";
import {
  CheckpointReader,
  type ReaderOptions,
} from "../../src/checkpoint/format/checkpoint_reader.ts";
import type { CheckpointTrailer } from "../../src/checkpoint/metadata/trailer.ts";
import type { Phase, Transaction } from "../../src/checkpoint/batches/transaction.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

/** Bytes in a buffer of their own. */
export function bytesOf(...parts: (string | number | Uint8Array)[]): Bytes {
  const arrays = parts.map((part) =>
    typeof part === "string"
      ? new TextEncoder().encode(part)
      : typeof part === "number"
      ? new Uint8Array(part)
      : part
  );
  const bytes = new Uint8Array(
    new ArrayBuffer(arrays.reduce((sum, { length }) => sum + length, 0)),
  );
  let at = 0;
  for (const array of arrays) {
    bytes.set(array, at);
    at += array.length;
  }
  return bytes;
}

/** A header with so many devices. */
export function header(devices = 1): CheckpointHeader {
  return {
    devices: Array.from({ length: devices }, () => ({
      protocol: "v1" as const,
      bus: "pci",
      driver: "test-vfio",
      vendorId: 0x1234,
      deviceId: 0x5678,
      subsystemVendorId: null,
      subsystemId: null,
      mdevType: null,
      region: { type: 1, subtype: 1 },
    })),
    created: "2026-02-03T04:05:06.789Z",
    tool: "test 1.2.3",
    iovaPageSize: 4096,
  };
}

/** One checkpoint, encoded without streams. */
export function encode(
  transactions: Iterable<Transaction>,
  options: EncodeOptions = {},
  head: CheckpointHeader = header(),
): Bytes {
  const encoder = new CheckpointEncoder(head, { elapsed: () => 0, ...options });
  const chunks = [...encoder.begin()];
  for (const transaction of transactions) chunks.push(...encoder.transaction(transaction));
  chunks.push(...encoder.end());
  return bytesOf(...chunks);
}

/** A transaction in a buffer of its own. */
export function transaction(
  data: string | number | Uint8Array,
  phase: Phase = "stop-and-copy",
  more = false,
  device = 0,
): Transaction {
  return { device, phase, data: bytesOf(data), more };
}

/** A whole transaction as text: device, phase and content; its chunks are put together. */
export function whole(transactions: Iterable<Transaction>): string[] {
  const open = new Map<number, string>();
  const done: string[] = [];
  for (const { device, phase, data, more } of transactions) {
    const text = (open.get(device) ?? `${device} ${phase} `) + Buffer.from(data).toString("latin1");
    if (more) open.set(device, text);
    else {
      open.delete(device);
      done.push(text);
    }
  }
  return done;
}

/** What reading some bytes came to. */
export interface Outcome {
  readonly batches: Batch[];
  readonly transactions: Transaction[];
  readonly trailer: CheckpointTrailer | null;
  readonly error: CheckpointError | null;
}

/** Reads bytes in pieces of the given lengths, the last one over and over. Other errors are thrown. */
export function read(
  bytes: Uint8Array,
  pieces: readonly number[] = [Infinity],
  options: ReaderOptions = {},
): Outcome {
  const reader = new CheckpointReader(options);
  const batches: Batch[] = [];
  let trailer: CheckpointTrailer | null = null;
  let error: CheckpointError | null = null;
  try {
    for (let at = 0, index = 0; at < bytes.length; index++) {
      const length = pieces[Math.min(index, pieces.length - 1)]!;
      for (const batch of reader.push(bytes.subarray(at, at + length))) batches.push(batch);
      at += length;
    }
    trailer = reader.end();
  } catch (thrown) {
    if (!(thrown instanceof CheckpointError)) throw thrown;
    error = thrown;
  }
  const transactions = batches.flatMap((batch) => [...batchTransactions(batch)]);
  return { batches, transactions, trailer, error };
}

/** As {@linkcode read}, but the bytes are put where the reader wants them, so many at a time. */
export function readInPlace(bytes: Uint8Array, most: number): Outcome {
  const reader = new CheckpointReader();
  const batches: Batch[] = [];
  let trailer: CheckpointTrailer | null = null;
  let error: CheckpointError | null = null;
  try {
    for (let at = 0; at < bytes.length;) {
      const room = reader.room();
      const count = Math.min(room.length, most, bytes.length - at);
      room.set(bytes.subarray(at, at + count));
      at += count;
      const batch = reader.filled(count);
      if (batch !== null) batches.push(batch);
    }
    trailer = reader.end();
  } catch (thrown) {
    if (!(thrown instanceof CheckpointError)) throw thrown;
    error = thrown;
  }
  const transactions = batches.flatMap((batch) => [...batchTransactions(batch)]);
  return { batches, transactions, trailer, error };
}

/** What is wrong with some bytes; null where nothing is. */
export function fault(bytes: Uint8Array, options?: ReaderOptions): CheckpointErrorCode | null {
  return read(bytes, undefined, options).error?.code ?? null;
}

/** A good checkpoint's preamble and frames. */
export function split(bytes: Bytes): Bytes[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [bytes.slice(0, PREAMBLE_SIZE)];
  for (let at = PREAMBLE_SIZE; at < bytes.length;) {
    const length = FRAME_HEADER_SIZE + view.getUint32(at + 12, true) +
      view.getUint32(at + 16, true);
    parts.push(bytes.slice(at, at + length));
    at += length;
  }
  return parts;
}

/** A frame to be written, right or wrong. */
export interface Craft {
  readonly type: number;
  readonly flags?: number;
  readonly device?: number;
  readonly meta: Uint8Array | string;
  readonly body?: Bytes;
}

/** Frames whose CRCs, numbers and chain are right, whatever is in them. */
export function craft(...frames: Craft[]): Bytes {
  const writer = new FrameWriter();
  const parts: Bytes[] = [writer.preamble()];
  for (const { type, flags = 0, device = 0, meta, body = bytesOf() } of frames) {
    const head = bytesOf(FRAME_HEADER_SIZE, meta);
    describeFrame(head, { type, flags, device }, body);
    writer.place(head, body.length);
    parts.push(head, body);
  }
  return bytesOf(...parts);
}

/** A good HEAD frame for {@linkcode craft}. */
export function headFrame(changes: Readonly<Record<string, unknown>> = {}): Craft {
  const fields = { ...header(), complete: true, digest: null, ...changes };
  return { type: FRAME_HEAD, meta: JSON.stringify(fields) };
}

/** A DATA frame for {@linkcode craft}, as its fields say. */
export function dataFrame(
  sizes: readonly number[],
  body: Bytes,
  fields: {
    phase?: number;
    flags?: number;
    reserved?: number;
    count?: number;
    micros?: bigint;
    frameFlags?: number;
    device?: number;
  } = {},
): Craft {
  const meta = new Uint8Array(16 + 4 * sizes.length);
  const view = new DataView(meta.buffer);
  view.setUint8(0, fields.phase ?? 2);
  view.setUint8(1, fields.flags ?? 0);
  view.setUint16(2, fields.reserved ?? 0, true);
  view.setUint32(4, fields.count ?? sizes.length, true);
  view.setBigUint64(8, fields.micros ?? 0n, true);
  sizes.forEach((size, index) => view.setUint32(16 + 4 * index, size, true));
  const { device = 0, frameFlags = 0 } = fields;
  return { type: FRAME_DATA, flags: frameFlags, device, meta, body };
}

/** A TAIL frame for {@linkcode craft}, with these fields. */
export function tailFrame(fields: unknown): Craft {
  return { type: FRAME_TAIL, meta: typeof fields === "string" ? fields : JSON.stringify(fields) };
}

/** The trailer's fields for one head and these DATA frames. */
export function tailOf(frames: Craft[], changes: Readonly<Record<string, unknown>> = {}): Craft {
  const before = craft(headFrame(), ...frames);
  const { batches } = read(before);
  const transactions = batches.reduce((sum, { sizes, more }) => sum + sizes.length - +more, 0);
  const bytes = batches.reduce((sum, batch) => sum + batch.bytes.length, 0);
  return tailFrame({
    complete: true,
    frames: 1 + frames.length,
    storedBytes: before.length,
    transactions,
    bytes,
    sha256: null,
    devices: [{ transactions, bytes }],
    ...changes,
  });
}
