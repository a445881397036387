/**
 * A checkpoint's frames, from bytes that come in pieces of any size.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import {
  type Bytes,
  checkMagic,
  checkPreamble,
  type FrameHeader,
  isKnown,
  nextChain,
  readFrameHeader,
} from "./frame_header.ts";
import { CheckpointError, type CheckpointErrorCode } from "../checkpoint_error.ts";
import { FRAME_HEADER_SIZE, FRAME_TAIL, MAX_META, PREAMBLE_SIZE } from "./constants.ts";
import type { FramePosition } from "./frame_writer.ts";

/** A whole frame whose CRCs are right. */
export interface Frame extends FrameHeader {
  /** Its meta part; holds until the next frame is asked for. */
  readonly meta: Bytes;
  /** Its body; null where it was not to be kept. */
  readonly body: Bytes | null;
}

/** The error for a frame whose bytes are right, and what they say is not. */
export function senseless({ offset, sequence }: FrameHeader, what: string): CheckpointError {
  return new CheckpointError("frame", offset, `frame ${sequence} makes no sense: ${what}`);
}

/** What a {@linkcode FrameReader} keeps. */
export interface FrameReaderOptions {
  /**
   * Gives the memory for a frame's body, `bodyLength` bytes of it, or null
   * where it need not be kept. Default: none is kept.
   */
  readonly allocate?: ((header: FrameHeader) => Bytes | null) | undefined;
}

/**
 * Reads frames. A frame comes out only once its CRC, its number and its place
 * in the chain are right; frames of unknown optional types are checked and left
 * out. No length is believed before it is bounded.
 */
export class FrameReader {
  readonly #allocate: (header: FrameHeader) => Bytes | null;
  readonly #fixed: Bytes = new Uint8Array(new ArrayBuffer(FRAME_HEADER_SIZE));
  readonly #fixedView: DataView<ArrayBuffer> = new DataView(this.#fixed.buffer);
  #meta: Bytes = new Uint8Array(new ArrayBuffer(4096));
  #part: "preamble" | "header" | "meta" | "body" | "end" = "preamble";
  /** Of the current part: how long it is, and how much of it has come. */
  #length = PREAMBLE_SIZE;
  #have = 0;
  #header: FrameHeader | null = null;
  #body: Bytes | null = null;
  /** Where a body that is not kept is read to. */
  #unkept: Bytes | null = null;
  #crc = 0;
  #chain = 0;
  #sequence = 0;
  #offset = 0;
  #skipped = 0;

  /** Starts before the first byte. */
  constructor(options: FrameReaderOptions = {}) {
    this.#allocate = options.allocate ?? ((): null => null);
  }

  /** Bytes read so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Frames read so far, those left out included. */
  get frames(): number {
    return this.#sequence;
  }

  /** Frames of unknown optional types. */
  get skipped(): number {
    return this.#skipped;
  }

  /**
   * Where the next frame stands, between two frames; set where another reader has read some.
   *
   * @throws {RangeError} If a frame is begun.
   */
  get position(): FramePosition {
    this.#demandBetween();
    return { sequence: this.#sequence, chain: this.#chain, offset: this.#offset };
  }

  set position({ sequence, chain, offset }: FramePosition) {
    this.#demandBetween();
    this.#sequence = sequence;
    this.#chain = chain;
    this.#offset = offset;
    this.#enter("header", FRAME_HEADER_SIZE);
  }

  /** Whether a frame is begun, and not whole. */
  get begun(): boolean {
    return this.#have > 0 || this.#part === "meta" || this.#part === "body";
  }

  #demandBetween(): void {
    if (this.begun) throw new RangeError("Cannot say where the next frame stands: one is begun");
  }

  /**
   * Takes the next bytes, and yields the frames that they complete. All bytes
   * are used up, and may be overwritten, when the generator is done.
   *
   * @throws {CheckpointError} At the first byte that cannot be right.
   */
  *push(chunk: Uint8Array): Generator<Frame> {
    let at = 0;
    while (at < chunk.byteLength) {
      if (this.#part === "end") this.#fail("trailing", "there is something after the trailer");
      const count = Math.min(this.#length - this.#have, chunk.byteLength - at);
      const whole = at === 0 && count === chunk.byteLength;
      const piece = whole ? chunk : chunk.subarray(at, at + count);
      this.#keep(piece);
      const frame = this.#take(count);
      if (frame !== null) yield frame;
      at += count;
    }
  }

  /**
   * Room for the next bytes, for a caller that can read them to where they belong:
   * {@linkcode FrameReader.filled} then takes the place of a push, and of its copy.
   */
  room(): Bytes {
    switch (this.#part) {
      case "preamble":
      case "header":
        return this.#fixed.subarray(this.#have, this.#length);
      case "meta":
        return this.#meta.subarray(this.#have, this.#length);
      case "body":
        if (this.#body !== null) return this.#body.subarray(this.#have);
        this.#unkept ??= new Uint8Array(new ArrayBuffer(MAX_META));
        return this.#unkept.subarray(0, this.#length - this.#have);
      case "end":
        // For the byte that must not come.
        return this.#fixed.subarray(0, 1);
    }
  }

  /**
   * Says that the first `count` bytes of the room have been filled in; returns
   * the frame that they complete.
   *
   * @throws {CheckpointError} As {@linkcode FrameReader.push}.
   */
  filled(count: number): Frame | null {
    if (this.#part === "end") this.#fail("trailing", "there is something after the trailer");
    if (this.#part === "body" && this.#body === null) {
      this.#crc = crc32(this.#unkept!.subarray(0, count), this.#crc);
    }
    return this.#take(count);
  }

  /**
   * Says that no more bytes come.
   *
   * @throws {CheckpointError} If that is too early.
   */
  end(): void {
    if (this.#part === "end") return;
    if (this.#offset === 0) this.#fail("empty", "it is empty");
    if (this.#part === "preamble") checkMagic(this.#fixed.subarray(0, this.#have));
    this.#fail("truncated", "it ends before its trailer");
  }

  #fail(code: CheckpointErrorCode, what: string, offset = this.#offset): never {
    throw new CheckpointError(code, offset, what);
  }

  #keep(piece: Uint8Array): void {
    switch (this.#part) {
      case "preamble":
      case "header":
        return this.#fixed.set(piece, this.#have);
      case "meta":
        return this.#meta.set(piece, this.#have);
      default:
        // What is kept is checked in one go, once it has come whole.
        if (this.#body !== null) this.#body.set(piece, this.#have);
        else this.#crc = crc32(piece, this.#crc);
    }
  }

  /** Counts bytes that are where they belong; returns the frame that they complete. */
  #take(count: number): Frame | null {
    this.#have += count;
    this.#offset += count;
    // A part may be empty; the end is one that never comes whole.
    while (this.#have === this.#length) {
      const frame = this.#next();
      if (frame !== null) return frame;
    }
    return null;
  }

  #enter(part: "header" | "meta" | "body" | "end", length: number): void {
    this.#part = part;
    this.#length = length;
    this.#have = 0;
  }

  /** A part has come whole: what is next? */
  #next(): Frame | null {
    if (this.#part === "preamble") {
      this.#chain = checkPreamble(this.#fixed);
      this.#enter("header", FRAME_HEADER_SIZE);
    } else if (this.#part === "header") {
      const offset = this.#offset - FRAME_HEADER_SIZE;
      const header = readFrameHeader(this.#fixed, this.#sequence, this.#chain, offset);
      this.#header = header;
      this.#chain = nextChain(this.#fixed, this.#chain);
      const { metaLength } = header;
      if (this.#meta.length < metaLength) this.#meta = new Uint8Array(new ArrayBuffer(metaLength));
      this.#enter("meta", metaLength);
    } else if (this.#part === "meta") {
      const header = this.#header!;
      this.#crc = crc32(this.#meta.subarray(0, header.metaLength));
      this.#body = isKnown(header.type) ? this.#allocate(header) : null;
      this.#enter("body", header.bodyLength);
    } else {
      return this.#finish(this.#header!);
    }
    return null;
  }

  #finish(header: FrameHeader): Frame | null {
    if (this.#body !== null) this.#crc = crc32(this.#body, this.#crc);
    // The frame's header is still there: the next one has not begun.
    if (this.#fixedView.getUint32(20, true) !== this.#crc) {
      this.#fail("crc", `frame ${header.sequence} has a wrong CRC`, header.offset);
    }
    this.#sequence += 1;
    if (header.type === FRAME_TAIL) this.#enter("end", Infinity);
    else this.#enter("header", FRAME_HEADER_SIZE);
    if (!isKnown(header.type)) {
      this.#skipped += 1;
      return null;
    }
    const meta = this.#meta.subarray(0, header.metaLength);
    const body = this.#body;
    this.#body = null;
    return { ...header, meta, body };
  }
}
