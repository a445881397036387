/**
 * The numbers of the checkpoint format: docs/checkpoint-format.md explains them.
 *
 * All integers are little endian.
 *
 * @module
 */

/**
 * The first eight bytes: `89 "VFK" CR LF 1A LF`. Transfers that clear bit 7 or
 * change line ends break it.
 */
export const MAGIC: readonly number[] = [0x89, 0x56, 0x46, 0x4b, 0x0d, 0x0a, 0x1a, 0x0a];

/** The version of the format that is written here, and the only one there is yet. */
export const FORMAT_VERSION = 1;

/** Size of the preamble in bytes: magic, version u16, flags u16 (0), CRC-32 of these 12 bytes. */
export const PREAMBLE_SIZE = 16;

/** Size of a frame's header in bytes. */
export const FRAME_HEADER_SIZE = 32;

/** Largest meta part of a frame, in bytes. */
export const MAX_META = 64 * 1024;

/** Largest body of a frame, in bytes, stored as well as decompressed. */
export const MAX_BODY = 16 * 1024 * 1024;

/** Most devices in one checkpoint. */
export const MAX_DEVICES = 64;

/** Frame type: the header, `"HEAD"`. */
export const FRAME_HEAD = 0x44414548;
/** Frame type: transactions, `"DATA"`. */
export const FRAME_DATA = 0x41544144;
/** Frame type: content of memory, `"PAGE"`. */
export const FRAME_PAGE = 0x45474150;
/** Frame type: hashes of memory, `"HASH"`. */
export const FRAME_HASH = 0x48534148;
/** Frame type: how a phase went, `"TIME"`. */
export const FRAME_TIME = 0x454d4954;
/** Frame type: the trailer, `"TAIL"`. */
export const FRAME_TAIL = 0x4c494154;

/** Frame flag: readers that do not know the type skip the frame. */
export const FRAME_OPTIONAL = 1;
/** Frame flag: the body is one zstd frame (RFC 8878). */
export const FRAME_ZSTD = 2;

/** Size of a DATA frame's meta part before its table of sizes, in bytes. */
export const DATA_META_SIZE = 16;

/** Most transactions in a DATA frame: what the largest meta part has room for. */
export const MAX_ENTRIES = 16380;

/** DATA flag: the last transaction goes on in the device's next DATA frame. */
export const DATA_MORE = 1;

/** A frame type as text: its four characters, or hex where they are not printable. */
export function frameTypeName(type: number): string {
  const codes = [type & 0xff, (type >>> 8) & 0xff, (type >>> 16) & 0xff, type >>> 24];
  return codes.every((code) => code > 0x20 && code < 0x7f)
    ? `"${String.fromCharCode(...codes)}"`
    : `0x${type.toString(16).padStart(8, "0")}`;
}
