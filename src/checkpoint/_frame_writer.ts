/**
 * Frames as bytes: numbers them, and chains them so that none can be moved.
 */

import { crc32 } from "node:zlib";
import { FORMAT_VERSION, FRAME_HEADER_SIZE, MAGIC, PREAMBLE_SIZE } from "./format.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What a frame is, apart from its bytes. */
export interface FrameKind {
  readonly type: number;
  readonly flags: number;
  readonly device: number;
}

/** Writes preamble and frame headers; a body stays where it is. */
export class FrameWriter {
  #sequence = 0;
  #chain = 0;
  #offset = 0;

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
   * Fills in the first {@linkcode FRAME_HEADER_SIZE} bytes of `head`; the meta
   * part stands behind them. The body follows `head` in the stream.
   */
  seal(head: Bytes, kind: FrameKind, body: Uint8Array | null): void {
    if (this.#sequence > 0xffffffff) {
      throw new RangeError("Cannot write more than 2^32 frames into one checkpoint");
    }
    const view = new DataView(head.buffer, head.byteOffset, FRAME_HEADER_SIZE);
    const bodyLength = body === null ? 0 : body.byteLength;
    view.setUint32(0, kind.type, true);
    view.setUint16(4, kind.flags, true);
    view.setUint16(6, kind.device, true);
    view.setUint32(8, this.#sequence, true);
    view.setUint32(12, head.byteLength - FRAME_HEADER_SIZE, true);
    view.setUint32(16, bodyLength, true);
    let crc = crc32(head.subarray(FRAME_HEADER_SIZE));
    if (body !== null && bodyLength > 0) crc = crc32(body, crc);
    view.setUint32(20, crc, true);
    view.setUint32(24, this.#chain, true);
    view.setUint32(28, crc32(head.subarray(0, 28)), true);
    // Without the chain itself and the header's CRC: a CRC that runs over a
    // value derived from itself forgets what it has seen.
    this.#chain = crc32(head.subarray(0, 24), this.#chain);
    this.#sequence += 1;
    this.#offset += head.byteLength + bodyLength;
  }
}
