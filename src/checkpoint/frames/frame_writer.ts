/**
 * Frames as bytes: numbers them, and chains them so that none can be moved.
 */

import { crc32 } from "node:zlib";
import { combineCrc, takeCrc } from "../../base/known_crc.ts";
import {
  FORMAT_VERSION,
  FRAME_HEADER_SIZE,
  FRAME_ZSTD,
  MAGIC,
  PREAMBLE_SIZE,
} from "./constants.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What a frame is, apart from its bytes. */
export interface FrameKind {
  readonly type: number;
  readonly flags: number;
  readonly device: number;
}

/**
 * Fills in what a frame's header says of the frame itself, in the first
 * {@linkcode FRAME_HEADER_SIZE} bytes of `head`; the meta part stands behind
 * them. The body follows `head` in the stream.
 */
export function describeFrame(head: Uint8Array, kind: FrameKind, body: Uint8Array | null): void {
  const view = new DataView(head.buffer, head.byteOffset, FRAME_HEADER_SIZE);
  const bodyLength = body === null ? 0 : body.byteLength;
  view.setUint32(0, kind.type, true);
  view.setUint16(4, kind.flags, true);
  view.setUint16(6, kind.device, true);
  view.setUint32(12, head.byteLength - FRAME_HEADER_SIZE, true);
  view.setUint32(16, bodyLength, true);
  let crc = crc32(head.subarray(FRAME_HEADER_SIZE));
  if (body !== null && bodyLength > 0) {
    // A trace may have computed it when the data was read.
    const known = (kind.flags & FRAME_ZSTD) === 0 ? takeCrc(body) : null;
    crc = known === null ? crc32(body, crc) : combineCrc(crc, known, bodyLength);
  }
  view.setUint32(20, crc, true);
}

/** The type that {@linkcode describeFrame} has given a frame. */
export function frameType(head: Uint8Array): number {
  return new DataView(head.buffer, head.byteOffset, FRAME_HEADER_SIZE).getUint32(0, true);
}

/** Where in a checkpoint the next frame stands. */
export interface FramePosition {
  /** How many frames there are before it. */
  readonly sequence: number;
  /** What chains it to them. */
  readonly chain: number;
  /** How many bytes there are before it. */
  readonly offset: number;
}

/** Writes the preamble, and gives frames their places. */
export class FrameWriter {
  #sequence = 0;
  #chain = 0;
  #offset = 0;

  /** Where the next frame stands. It is set where another thread has written some. */
  get position(): FramePosition {
    return { sequence: this.#sequence, chain: this.#chain, offset: this.#offset };
  }

  set position({ sequence, chain, offset }: FramePosition) {
    this.#sequence = sequence;
    this.#chain = chain;
    this.#offset = offset;
  }

  /** How many frames were written. */
  get frames(): number {
    return this.#sequence;
  }

  /** How many bytes were written, bodies included. */
  get offset(): number {
    return this.#offset;
  }

  /** The first bytes. */
  preamble(): Bytes {
    const bytes = new Uint8Array(new ArrayBuffer(PREAMBLE_SIZE));
    const view = new DataView(bytes.buffer);
    bytes.set(MAGIC);
    view.setUint16(8, FORMAT_VERSION, true);
    this.#chain = crc32(bytes.subarray(0, 12));
    view.setUint32(12, this.#chain, true);
    this.#offset = PREAMBLE_SIZE;
    return bytes;
  }

  /**
   * Gives a frame its place: its number, the chain, and the CRC of its header, which
   * {@linkcode describeFrame} has filled in but for these.
   */
  place(head: Uint8Array, bodyLength: number): void {
    if (this.#sequence > 0xffffffff) {
      throw new RangeError("Cannot write more than 2^32 frames into one checkpoint");
    }
    const view = new DataView(head.buffer, head.byteOffset, FRAME_HEADER_SIZE);
    view.setUint32(8, this.#sequence, true);
    view.setUint32(24, this.#chain, true);
    view.setUint32(28, crc32(head.subarray(0, 28)), true);
    // Without the chain itself and the header's CRC: a CRC that runs over a
    // value derived from itself forgets what it has seen.
    this.#chain = crc32(head.subarray(0, 24), this.#chain);
    this.#sequence += 1;
    this.#offset += head.byteLength + bodyLength;
  }
}
