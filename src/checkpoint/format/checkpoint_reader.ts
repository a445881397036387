/**
 * Decodes a checkpoint into batches from pieces of any size, synchronously and without streams.
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import { BATCH_BYTES, takeBuffer } from "../batches/buffer_pool.ts";
import { type BatchMeta, parseBatchMeta } from "../frames/data_frame.ts";
import { FieldError } from "../metadata/json_fields.ts";
import { parseHeader } from "../metadata/header_json.ts";
import { TotalsCounter } from "../metadata/totals.ts";
import { compareTrailers, parseTrailer } from "../metadata/trailer_json.ts";
import { type HashedRange, parseHashMeta } from "../frames/hash_frame.ts";
import { pageContent, type PageEntry, parsePageMeta } from "../frames/page_frame.ts";
import { parseTimes, type PhaseTimes } from "../frames/time_frame.ts";
import { decompressFrame, giveBack } from "../frames/zstd.ts";
import type { Batch } from "../batches/batch.ts";
import { CheckpointError } from "../checkpoint_error.ts";
import {
  FRAME_DATA,
  FRAME_HASH,
  FRAME_HEAD,
  FRAME_PAGE,
  FRAME_TIME,
  FRAME_ZSTD,
  MAX_BODY,
} from "../frames/constants.ts";
import { type Frame, FrameReader, senseless } from "../frames/frame_reader.ts";
import type { FrameHeader } from "../frames/frame_header.ts";
import type { FramePosition } from "../frames/frame_writer.ts";
import type { DecodedHeader } from "../metadata/header.ts";
import type { CheckpointTrailer, PhaseTotals } from "../metadata/trailer.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const NO_BYTES: Bytes = new Uint8Array(new ArrayBuffer(0));

/** Options of reading. */
export interface ReaderOptions {
  /** Refuse a checkpoint of the pre-copy phase alone, at its header. Default false. */
  readonly requireComplete?: boolean | undefined;
  /** Check the batches, but yield them without their bytes. Default false. */
  readonly discard?: boolean | undefined;
  /**
   * Gives the memory for a body that is given out as it comes, `bodyLength` bytes of it; null for
   * the default, which is a buffer of the pool or a new one.
   */
  readonly allocate?: ((header: FrameHeader) => Uint8Array<ArrayBuffer> | null) | undefined;
  /** Takes content of memory; without this it is checked, and left out. */
  readonly pages?: ((pages: Pages) => void) | undefined;
  /** Leaves content of memory compressed, for `pages` to decompress. Default false. */
  readonly packed?: boolean | undefined;
  /** Takes hashes of memory; without this they are checked, and left out. */
  readonly hashes?: ((hashes: Hashes) => void) | undefined;
}

/** Content of memory, whose frame is right. */
export interface Pages {
  /** The number of the device whose DMA reaches it. */
  readonly device: number;
  /** Its ranges; the bytes of those that are not zero follow each other in the body. */
  readonly entries: readonly PageEntry[];
  /** The frame's meta part; holds until the next frame. */
  readonly meta: Uint8Array<ArrayBuffer>;
  /** The bytes. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** How many bytes a body that was left compressed has to make; null if it is not compressed. */
  readonly packedFrom: number | null;
}

/** Hashes of memory, whose frame is right. */
export interface Hashes extends HashedRange {
  /** The number of the device whose DMA reaches the memory. */
  readonly device: number;
  /** The hash of each page. */
  readonly hashes: Uint8Array<ArrayBuffer>;
}

/** How a phase went for a device of a checkpoint. */
export interface DevicePhaseTimes extends PhaseTimes {
  /** The number of the device in the checkpoint. */
  readonly device: number;
}

/** From this size on, a batch gets a buffer of the pool. */
const WORTH_POOLING = BATCH_BYTES / 4;

/** Memory for a batch. */
function batchBytes(length: number): Bytes {
  return length >= WORTH_POOLING && length <= BATCH_BYTES
    ? takeBuffer().subarray(0, length)
    : new Uint8Array(new ArrayBuffer(length));
}

/**
 * Reads one checkpoint. A batch is returned once its frame has been checked completely. The
 * checkpoint as a whole is good if {@linkcode CheckpointReader.end} returns.
 *
 * @example
 * ```ts
 * import { CheckpointError } from "vfiokit";
 * import { CheckpointReader } from "./checkpoint_reader.ts";
 * import assert from "node:assert/strict";
 *
 * const reader = new CheckpointReader();
 * for (const batch of reader.push(new Uint8Array([0x89, 0x56]))) assert.fail(batch.phase);
 * assert.throws(() => reader.end(), (error: CheckpointError) => error.code === "truncated");
 * ```
 */
export class CheckpointReader {
  readonly #frames: FrameReader;
  readonly #options: ReaderOptions;
  #header: DecodedHeader | null = null;
  #trailer: CheckpointTrailer | null = null;
  #counter = new TotalsCounter(0);
  #hash: Hash | null = null;
  #scratch: Bytes = NO_BYTES;
  #dataFrames = 0;
  #compressedFrames = 0;
  #pageBytes = 0;
  readonly #times: DevicePhaseTimes[] = [];

  /** Starts before the first byte. */
  constructor(options: ReaderOptions = {}) {
    this.#options = options;
    this.#frames = new FrameReader({ allocate: (header) => this.#allocate(header) });
  }

  /** The header; null until it was read. */
  get header(): DecodedHeader | null {
    return this.#header;
  }

  /** The trailer; null until it was read. */
  get trailer(): CheckpointTrailer | null {
    return this.#trailer;
  }

  /** Bytes read so far, as stored. */
  get storedBytes(): number {
    return this.#frames.offset;
  }

  /** Totals so far, by device and phase; the time is the device's own if the checkpoint has it. */
  get phases(): PhaseTotals[] {
    return this.#counter.phases.map((totals) => {
      const measured = this.#times.find(({ device, phase }) =>
        device === totals.device && phase === totals.phase
      );
      return measured === undefined ? totals : { ...totals, seconds: measured.seconds };
    });
  }

  /** How the phases went, as far as the checkpoint says it. */
  get times(): readonly DevicePhaseTimes[] {
    return this.#times;
  }

  /** Bytes of memory so far, zeros included. */
  get pageBytes(): number {
    return this.#pageBytes;
  }

  /** DATA frames so far, how many of them were compressed, and skipped optional frames. */
  get frames(): { data: number; compressed: number; skipped: number } {
    return {
      data: this.#dataFrames,
      compressed: this.#compressedFrames,
      skipped: this.#frames.skipped,
    };
  }

  /**
   * Takes the next bytes, and yields the batches that they complete. When the generator is done,
   * all bytes are used and may be overwritten.
   *
   * @throws {CheckpointError} At the first thing that cannot be right.
   */
  *push(chunk: Uint8Array): Generator<Batch> {
    for (const frame of this.#frames.push(chunk)) {
      const batch = this.#take(frame);
      if (batch !== null) yield batch;
    }
  }

  /**
   * Room for the next bytes, for a caller that can read them to where they belong:
   * {@linkcode CheckpointReader.filled} then takes the place of a push, and of its copy.
   */
  room(): Uint8Array<ArrayBuffer> {
    return this.#frames.room();
  }

  /**
   * Says that the first `count` bytes of the room have been filled in; returns
   * the batch that they complete.
   *
   * @throws {CheckpointError} At the first thing that cannot be right.
   */
  filled(count: number): Batch | null {
    const frame = this.#frames.filled(count);
    return frame === null ? null : this.#take(frame);
  }

  /** Where the next frame stands, between two frames. */
  get position(): FramePosition {
    return this.#frames.position;
  }

  /** Goes on behind frames with so many bytes of memory, which another thread has read. */
  goOn(position: FramePosition, pageBytes: number): void {
    this.#frames.position = position;
    this.#pageBytes += pageBytes;
  }

  /**
   * Ends the input; returns the trailer.
   *
   * @throws {CheckpointError} If the checkpoint is not complete.
   */
  end(): CheckpointTrailer {
    this.#frames.end();
    return this.#trailer!;
  }

  #take(frame: Frame): Batch | null {
    if (frame.type === FRAME_DATA) return this.#data(frame);
    if (frame.type === FRAME_HEAD) this.#head(frame);
    else if (frame.type === FRAME_PAGE) this.#pages(frame);
    else if (frame.type === FRAME_HASH) this.#hashes(frame);
    else if (frame.type === FRAME_TIME) this.#time(frame);
    else this.#tail(frame);
    return null;
  }

  #hashes(frame: Frame): void {
    const { device, meta, body } = frame;
    const range = parseHashMeta(meta, frame.bodyLength);
    if (typeof range === "string") throw senseless(frame, range);
    this.#demandDevice(frame);
    if (body !== null) this.#options.hashes?.({ ...range, device, hashes: body });
  }

  #time(frame: Frame): void {
    const { device } = frame;
    this.#demandDevice(frame);
    if (frame.bodyLength !== 0) throw senseless(frame, "times with a body");
    const times = { device, ...this.#parse(frame, "frame", parseTimes) };
    const twice = this.#times.some((known) =>
      known.device === device && known.phase === times.phase
    );
    if (twice) throw senseless(frame, `the times of ${times.phase} come twice`);
    this.#times.push(times);
  }

  #demandDevice(frame: Frame): void {
    if (frame.device < this.#header!.devices.length) return;
    throw senseless(frame, `device ${frame.device}`);
  }

  #pages(frame: Frame): void {
    const { device, meta, body } = frame;
    const compressed = (frame.flags & FRAME_ZSTD) !== 0;
    const entries = parsePageMeta(meta, compressed ? null : frame.bodyLength);
    if (typeof entries === "string") throw senseless(frame, entries);
    this.#demandDevice(frame);
    this.#pageBytes += entries.reduce((sum, { length }) => sum + length, 0);
    let content = body ?? NO_BYTES;
    let packedFrom: number | null = null;
    if (compressed) {
      const length = pageContent(entries);
      this.#demandBound(frame, length);
      if (this.#options.packed) packedFrom = length;
      else content = this.#inflate(frame, length);
    }
    this.#options.pages?.({ device, entries, meta, body: content, packedFrom });
  }

  #allocate(header: FrameHeader): Bytes | null {
    const { bodyLength } = header;
    if (header.type === FRAME_HASH) {
      return this.#options.hashes === undefined
        ? null
        : new Uint8Array(new ArrayBuffer(bodyLength));
    }
    const compressed = (header.flags & FRAME_ZSTD) !== 0;
    if (header.type === FRAME_PAGE && (!compressed || this.#options.packed)) {
      return this.#options.pages === undefined ? null : this.#options.allocate?.(header) ?? null;
    }
    if (!compressed && this.#options.discard !== true) {
      return this.#options.allocate?.(header) ?? batchBytes(bodyLength);
    }
    // A compressed or hashed body is needed only until the frame's end.
    if (!compressed && this.#hash === null) return null;
    if (this.#scratch.byteLength < bodyLength) {
      this.#scratch = new Uint8Array(new ArrayBuffer(bodyLength));
    }
    return this.#scratch.subarray(0, bodyLength);
  }

  #head(frame: Frame): void {
    const header = this.#parse(frame, "header", parseHeader);
    if (this.#options.requireComplete === true && !header.complete) {
      throw new CheckpointError(
        "incomplete",
        frame.offset,
        "it was written by the pre-copy phase alone, which is not enough to restore a device",
      );
    }
    this.#header = header;
    this.#counter = new TotalsCounter(header.devices.length);
    if (header.digest !== null) this.#hash = createHash(header.digest);
  }

  #parse<Value>(
    frame: Frame,
    part: "header" | "frame" | "trailer",
    parse: (bytes: Uint8Array) => Value,
  ): Value {
    try {
      return parse(frame.meta);
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      throw new CheckpointError(part, frame.offset, `its ${part} makes no sense: ${error.message}`);
    }
  }

  #data(frame: Frame): Batch {
    const meta = parseBatchMeta(frame.meta);
    if (typeof meta === "string") throw senseless(frame, meta);
    const { phase, sizes, more, micros } = meta;
    const bytes = this.#content(frame, meta);
    const wrong = this.#counter.add({ device: frame.device, phase, sizes, more, micros });
    if (wrong !== null) throw senseless(frame, wrong);
    this.#dataFrames += 1;
    return {
      device: frame.device,
      phase,
      sizes,
      more,
      micros,
      bytes: this.#options.discard === true ? NO_BYTES : bytes,
    };
  }

  /** The content of a DATA frame; empty if it is not needed. */
  #content(frame: Frame, { length }: BatchMeta): Bytes {
    this.#demandBound(frame, length);
    const compressed = (frame.flags & FRAME_ZSTD) !== 0;
    if (!compressed && frame.bodyLength !== length) {
      throw senseless(frame, `${frame.bodyLength} bytes, and sizes that make ${length}`);
    }
    if (compressed) this.#compressedFrames += 1;
    const bytes = compressed ? this.#inflate(frame, length) : frame.body ?? NO_BYTES;
    this.#hash?.update(bytes);
    return bytes;
  }

  #demandBound(frame: Frame, length: number): void {
    if (length <= MAX_BODY) return;
    const what = `frame ${frame.sequence} holds ${length} bytes where ${MAX_BODY} are the most`;
    throw new CheckpointError("length", frame.offset, what);
  }

  /** The content of a compressed frame: a copy if it is kept, as the caller may give it away. */
  #inflate(frame: Frame, length: number): Bytes {
    let inflated: Bytes | null = null;
    let cause: unknown;
    try {
      if (length > 0) inflated = decompressFrame(frame.body!, length);
    } catch (error) {
      cause = error;
    }
    if (inflated === null) {
      const what = `frame ${frame.sequence} does not decompress to the ${length} bytes it declares`;
      throw new CheckpointError("compression", frame.offset, what, { cause });
    }
    if (this.#options.discard === true) return inflated;
    // A copy: the caller may transfer the batch's buffer, and zlib's may be shared.
    const bytes = batchBytes(length);
    bytes.set(inflated);
    giveBack(inflated);
    return bytes;
  }

  #tail(frame: Frame): void {
    const trailer = this.#parse(frame, "trailer", parseTrailer);
    const unfinished = this.#counter.unfinished;
    const differences = compareTrailers(trailer, {
      complete: this.#header!.complete,
      frames: frame.sequence,
      storedBytes: frame.offset,
      transactions: this.#counter.transactions,
      bytes: this.#counter.bytes,
      sha256: null,
      devices: this.#counter.devices,
    });
    if (unfinished !== null) differences.push(`a transaction of device ${unfinished} goes on`);
    if (differences.length > 0) {
      const what = `its trailer does not fit: ${differences.join("; ")}`;
      throw new CheckpointError("trailer", frame.offset, what);
    }
    const sha256 = this.#hash === null ? null : this.#hash.digest("hex");
    if (trailer.sha256 !== sha256) {
      const what = `the SHA-256 of its content is ${sha256 ?? "not taken"}, its trailer says ` +
        `${trailer.sha256 ?? "none"}`;
      throw new CheckpointError("digest", frame.offset, what);
    }
    this.#trailer = trailer;
  }
}
