/**
 * A frame's body compressed: one zstd frame (RFC 8878, section 3.1.1), whatever
 * the runtime's compressor returns.
 *
 * Deno's zstdCompressSync ends the stream once more for each time that its
 * output buffer was full, and each of those leaves an empty frame of 9 bytes
 * behind the one that was wanted. A buffer that is large enough avoids it. That
 * it did is checked: the blocks are walked, which costs nothing beside the
 * compression.
 */

import { constants, zstdCompressSync, zstdDecompressSync, type ZstdOptions } from "node:zlib";

type Bytes = Uint8Array<ArrayBuffer>;

const MAGIC = 0xfd2fb528;
const MAGIC_SIZE = 4;
const BLOCK_HEADER_SIZE = 3;
const CHECKSUM_SIZE = 4;

/** Buffers of at most this many bytes may be shared: node:zlib takes small ones from a pool. */
const POOLED_BYTES = 64 << 10;

const RAW_BLOCK = 0;
const RLE_BLOCK = 1;
const RESERVED_BLOCK = 3;

/** Bytes of the dictionary's id by the lowest two bits of the frame's descriptor. */
const DICTIONARY_ID_SIZES: readonly number[] = [0, 1, 2, 4];

/** What a zstd frame says of itself. */
interface ZstdFrame {
  /** Where it ends. */
  readonly end: number;
  /** Bytes that it holds uncompressed, as its header declares; null if it does not. */
  readonly content: number | null;
  /** Whether it holds nothing: its only block is of no bytes. */
  readonly empty: boolean;
}

/** Walks the frame that begins at `start`; null if no whole frame does. */
function walkFrame(bytes: Uint8Array, start: number): ZstdFrame | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const left = (at: number): number => bytes.byteLength - at;
  if (left(start) <= MAGIC_SIZE || view.getUint32(start, true) !== MAGIC) return null;
  const descriptor = bytes[start + MAGIC_SIZE]!;
  const single = (descriptor & 0x20) !== 0;
  const reserved = (descriptor & 0x08) !== 0;
  const checksum = (descriptor & 0x04) !== 0;
  const windowSize = single ? 0 : 1;
  const idSize = DICTIONARY_ID_SIZES[descriptor & 3]!;
  const contentSize = contentFieldSize(descriptor >>> 6, single);
  const contentAt = start + MAGIC_SIZE + 1 + windowSize + idSize;
  let at = contentAt + contentSize;
  if (reserved || left(at) < 0) return null;
  for (let blocks = 1;; blocks++) {
    if (left(at) < BLOCK_HEADER_SIZE) return null;
    const header = bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16;
    const last = (header & 1) !== 0;
    const type = (header >>> 1) & 3;
    const size = header >>> 3;
    if (type === RESERVED_BLOCK) return null;
    at += BLOCK_HEADER_SIZE + (type === RLE_BLOCK ? 1 : size);
    if (!last) continue;
    const end = at + (checksum ? CHECKSUM_SIZE : 0);
    if (left(end) < 0) return null;
    return {
      end,
      content: readContentSize(view, contentAt, contentSize),
      empty: blocks === 1 && type === RAW_BLOCK && size === 0,
    };
  }
}

function contentFieldSize(flag: number, single: boolean): number {
  return flag === 0 ? (single ? 1 : 0) : 1 << flag;
}

function readContentSize(view: DataView, at: number, size: number): number | null {
  switch (size) {
    case 0:
      return null;
    case 1:
      return view.getUint8(at);
    case 2:
      return view.getUint16(at, true) + 256;
    case 4:
      return view.getUint32(at, true);
    default:
      return Number(view.getBigUint64(at, true));
  }
}

/** The first zstd frame of a body that has nothing behind it but empty frames; else null. */
function onlyFrame(body: Uint8Array): ZstdFrame | null {
  const first = walkFrame(body, 0);
  if (first === null) return null;
  for (let at = first.end; at < body.byteLength;) {
    const next = walkFrame(body, at);
    if (next === null || !next.empty) return null;
    at = next.end;
  }
  return first;
}

/** zstd's ZSTD_COMPRESSBOUND, and room to spare: no output of this library is larger. */
function outputBound(length: number): number {
  return length + (length >>> 8) + 1024;
}

/**
 * Compresses to one zstd frame, which declares the length of its content; null
 * where the runtime's compressor fails, or makes anything else.
 */
export function compressToFrame(bytes: Uint8Array, compress = zstdCompressSync): Bytes | null {
  const { byteLength } = bytes;
  const options: ZstdOptions & { readonly pledgedSrcSize: number } = {
    chunkSize: outputBound(byteLength),
    // The frame's header then has it, and a compressor that takes another number of bytes fails.
    pledgedSrcSize: byteLength,
    params: { [constants.ZSTD_c_compressionLevel]: 1 },
  };
  try {
    // Synchronous: in Deno the asynchronous call does its work on this thread too.
    const made = compress(bytes, options);
    const frame = onlyFrame(made);
    if (frame === null) return null;
    // A copy: a small frame must not keep the whole output buffer alive.
    const body = new Uint8Array(made.subarray(0, frame.end));
    giveBack(made as Bytes);
    const length = frame.content ?? decompressFrame(body, byteLength)?.byteLength;
    return length === byteLength ? body : null;
  } catch {
    return null;
  }
}

/**
 * Decompresses a body that is one zstd frame, to `length` bytes. Empty frames
 * behind it, which versions before the first release wrote under Deno, are left out.
 *
 * @returns null where it is anything else.
 * @throws {Error} What the runtime's decompressor throws.
 */
export function decompressFrame(body: Bytes, length: number): Bytes | null {
  const frame = onlyFrame(body);
  if (frame === null || (frame.content ?? length) !== length) return null;
  // Synchronous: the asynchronous call of Deno throws where nobody can catch it.
  // One buffer for all of it, which is not full in the end: else Deno makes another one, and a copy.
  const options = {
    maxOutputLength: Math.max(1, length),
    chunkSize: Math.max(constants.Z_MIN_CHUNK, length + 1),
  };
  const made = zstdDecompressSync(body.subarray(0, frame.end), options);
  if (made.byteLength !== length) return null;
  return new Uint8Array(made.buffer as ArrayBuffer, made.byteOffset, length);
}

/**
 * Gives the memory of what was made here back at once; it must not be used after that. The collector
 * comes only after tens of MiB, in each thread: it counts the objects, which are small.
 */
export function giveBack({ buffer }: Bytes): void {
  if (buffer.byteLength > POOLED_BYTES) buffer.transfer(0);
}
