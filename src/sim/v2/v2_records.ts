/**
 * The data format of simulated v2 devices: records, each with a header of
 * {@linkcode RECORD_HEADER} bytes {size u64, flags u32, tag u32}, little endian,
 * as in mlx5 and virtio.
 */

import type { Bytes } from "../os/bytes.ts";
import type { Personality } from "../personalities.ts";

/** Bytes of a record's header. */
export const RECORD_HEADER = 16;
/** Flag: a reader that does not know the tag may skip the record. */
export const OPTIONAL = 1;

/** Tag: a transaction of save_stream.ts, which carries a part of the state. */
export const TAG_DATA = 0;
/** Tag: the size of the state in bytes, u64; optional. */
export const TAG_SIZE = 1;
/** Tag: the device's identity, which must match the destination's. */
export const TAG_MATCH = 2;

/** Writes a record's header at the start of `out`. */
export function putHeader(out: DataView, size: number, tag: number, flags = 0): void {
  out.setUint32(0, size % 2 ** 32, true);
  out.setUint32(4, Math.floor(size / 2 ** 32), true);
  out.setUint32(8, flags, true);
  out.setUint32(12, tag, true);
}

/** Reads a record's header. A size above 2^53 is rounded, but still exceeds every limit. */
export function getHeader(
  bytes: DataView,
): { readonly size: number; readonly flags: number; readonly tag: number } {
  return {
    size: bytes.getUint32(0, true) + bytes.getUint32(4, true) * 2 ** 32,
    flags: bytes.getUint32(8, true),
    tag: bytes.getUint32(12, true),
  };
}

/** The payload of TAG_MATCH: `VKMD`, the PCI ids, and the size of the state. */
export function matchData({ ids }: Personality, stateSize: number): Bytes {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x444d4b56, true);
  ids.forEach((id, index) => view.setUint16(8 + 2 * index, id, true));
  view.setBigUint64(16, BigInt(stateSize), true);
  return bytes;
}

/** The payload of TAG_SIZE. */
export function sizeData(stateSize: number): Bytes {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(stateSize), true);
  return bytes;
}
