/**
 * Encodes a checkpoint from batches or transactions, synchronously and without streams.
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import type { Transaction } from "../batches/transaction.ts";
import { Batcher } from "../batches/batcher.ts";
import { packBatchHead } from "../frames/data_frame.ts";
import { FrameSequence } from "../frames/frame_sequence.ts";
import { describeFrame, type FramePosition } from "../frames/frame_writer.ts";
import { compressToFrame } from "../frames/zstd.ts";
import type { Batch } from "../batches/batch.ts";
import { FRAME_DATA, FRAME_ZSTD, MAX_BODY, MAX_ENTRIES } from "../frames/constants.ts";
import type { Bytes } from "../frames/frame_header.ts";
import type { CheckpointHeader } from "../metadata/header.ts";

/** Options of encoding. */
export interface EncodeOptions {
  /** Compress frames that this makes smaller. Default: none. */
  readonly compress?: "zstd" | undefined;
  /** Put a digest of the content into the trailer. Default: no digest. */
  readonly digest?: "sha256" | undefined;
  /** Whether a restore may use it; false for the pre-copy phase alone. Default true. */
  readonly complete?: boolean | undefined;
  /**
   * Returns the microseconds since the checkpoint was started. Default: measured; a fixed clock
   * makes equal files.
   */
  readonly elapsed?: (() => number) | undefined;
}

const NOTHING: readonly Bytes[] = [];

function stopwatch(): () => number {
  const begun = performance.now();
  return () => Math.round((performance.now() - begun) * 1000);
}

/**
 * Encodes one checkpoint: {@linkcode CheckpointEncoder.begin}, then batches or
 * transactions, then {@linkcode CheckpointEncoder.end}. Each returns the next bytes of the stream
 * as a list of chunks. Data is not copied: a chunk may be a view of the caller's buffer, which must
 * not change until the chunk is written.
 *
 * @example
 * ```ts
 * import { CheckpointEncoder } from "./checkpoint_encoder.ts";
 * import assert from "node:assert/strict";
 *
 * const encoder = new CheckpointEncoder({
 *   devices: [{
 *     protocol: "v1", bus: "mdev", driver: "mtty", vendorId: null, deviceId: null,
 *     subsystemVendorId: null, subsystemId: null, mdevType: "mtty-1", region: { type: 1, subtype: 1 },
 *   }],
 *   created: "2026-01-01T00:00:00Z",
 *   tool: "example",
 *   iovaPageSize: null,
 * });
 * const data = new Uint8Array(new ArrayBuffer(4096));
 * const chunks = [
 *   ...encoder.begin(),
 *   ...encoder.transaction({ device: 0, phase: "stop-and-copy", data, more: false }),
 *   ...encoder.end(),
 * ];
 * assert.ok(chunks.some((chunk) => chunk.buffer === data.buffer));
 * ```
 */
export class CheckpointEncoder {
  readonly #frames: FrameSequence;
  readonly #batcher = new Batcher();
  readonly #compress: boolean;
  readonly #hash: Hash | null;
  readonly #elapsed: () => number;
  /** The time of the last transaction. */
  #micros = 0;

  /**
   * Checks the header.
   *
   * @throws {TypeError} If a field of the header is invalid.
   */
  constructor(header: CheckpointHeader, options: EncodeOptions = {}) {
    this.#compress = options.compress === "zstd";
    const digest = options.digest ?? null;
    this.#frames = new FrameSequence(header, { complete: options.complete, digest });
    this.#hash = digest === null ? null : createHash(digest);
    this.#elapsed = options.elapsed ?? stopwatch();
  }

  /** Bytes of the stream so far. */
  get storedBytes(): number {
    return this.#frames.storedBytes;
  }

  /** Returns the first bytes. Call this once, first. */
  begin(): readonly Bytes[] {
    return this.#frames.begin();
  }

  /**
   * Takes a transaction. Consecutive transactions of one buffer become one frame, so this mostly
   * returns nothing.
   *
   * @throws {TypeError} If its device is not in the header, or it continues a transaction of
   * another phase.
   */
  transaction(transaction: Transaction): readonly Bytes[] {
    if (transaction.data.byteLength > MAX_BODY) return this.#cut(transaction);
    const done = this.#batcher.add(transaction);
    const full = this.#batcher.full ? this.#batcher.take() : null;
    // A batch has the time of its last transaction, not of the one that ends it.
    const before = this.#micros;
    this.#micros = this.#elapsed();
    if (done === null && full === null) return NOTHING;
    const chunks: Bytes[] = [];
    if (done !== null) this.#encode({ ...done, micros: before }, chunks);
    if (full !== null) this.#encode({ ...full, micros: this.#micros }, chunks);
    return chunks;
  }

  /**
   * Takes a whole batch as one frame.
   *
   * @throws {RangeError} If it is larger than a frame may be, or its sizes do not add up.
   * @throws {TypeError} As {@linkcode CheckpointEncoder.transaction}.
   */
  batch(batch: Omit<Batch, "micros">): readonly Bytes[] {
    const { sizes, bytes } = batch;
    let length = 0;
    for (let index = 0; index < sizes.length; index++) length += sizes[index]!;
    if (sizes.length < 1 || sizes.length > MAX_ENTRIES || length > MAX_BODY) {
      throw new RangeError(
        `Cannot write a frame of ${sizes.length} transactions and ${length} bytes`,
      );
    }
    if (length !== bytes.byteLength) {
      throw new RangeError(
        `Cannot write a frame of ${bytes.byteLength} bytes: its sizes make ${length}`,
      );
    }
    const chunks: Bytes[] = [];
    this.#flush(chunks);
    this.#encode({ ...batch, micros: this.#elapsed() }, chunks);
    return chunks;
  }

  /**
   * Gives a frame about memory its place, after what was taken before it. Its head is filled in but for
   * that; its body follows it in the stream.
   */
  place(head: Uint8Array, bodyLength: number): readonly Bytes[] {
    const chunks: Bytes[] = [];
    this.#flush(chunks);
    this.#frames.place(head, bodyLength);
    return chunks;
  }

  /**
   * Where the next frame stands, if no transaction is unfinished; set after another thread has
   * written frames about memory from there on.
   */
  get position(): FramePosition {
    return this.#frames.position;
  }

  set position(position: FramePosition) {
    this.#frames.position = position;
  }

  /**
   * Returns the last bytes. Call this once, last.
   *
   * @throws {TypeError} If a transaction is unfinished.
   */
  end(): readonly Bytes[] {
    const chunks: Bytes[] = [];
    this.#flush(chunks);
    chunks.push(this.#frames.end(this.#hash === null ? null : this.#hash.digest("hex")));
    return chunks;
  }

  #flush(chunks: Bytes[]): void {
    const batch = this.#batcher.take();
    if (batch !== null) this.#encode({ ...batch, micros: this.#micros }, chunks);
  }

  /** Splits a transaction that is larger than a frame may be. */
  #cut({ data, more, device, phase }: Transaction): Bytes[] {
    const chunks: Bytes[] = [];
    for (let at = 0; at < data.byteLength; at += MAX_BODY) {
      const part = data.subarray(at, at + MAX_BODY);
      const goesOn = more || at + part.byteLength < data.byteLength;
      chunks.push(...this.transaction({ device, phase, data: part, more: goesOn }));
    }
    return chunks;
  }

  #encode(batch: Batch, chunks: Bytes[]): void {
    this.#frames.count(batch);
    this.#hash?.update(batch.bytes);
    const head = packBatchHead(batch);
    const body = this.#compress ? this.#squeeze(batch.bytes) : batch.bytes;
    const flags = body === batch.bytes ? 0 : FRAME_ZSTD;
    describeFrame(head, { type: FRAME_DATA, flags, device: batch.device }, body);
    this.#frames.place(head, body.byteLength);
    chunks.push(head);
    if (body.byteLength > 0) chunks.push(body);
  }

  /** Compresses the bytes; returns them unchanged if that would not make them smaller. */
  #squeeze(bytes: Bytes): Bytes {
    const squeezed = compressToFrame(bytes);
    return squeezed !== null && squeezed.byteLength < bytes.byteLength ? squeezed : bytes;
  }
}
