/**
 * What a simulated v2 device's data looks like: records, each with a header of
 * {@linkcode RECORD_HEADER} bytes {size u64, flags u32, tag u32}, little endian,
 * as mlx5 and virtio have them.
 */

import type { Bytes } from "./_region.ts";
import type { Personality } from "./personalities.ts";

/** Bytes of a record's header. */
export const RECORD_HEADER = 16;
/** Flag: whoever does not know the tag may skip the record. */
export const OPTIONAL = 1;

/** A piece of the state, as _save_stream.ts makes them. */
export const TAG_DATA = 0;
/** How many bytes of state there are, u64; optional. */
export const TAG_SIZE = 1;
/** What the device is: the destination must be the same. */
export const TAG_MATCH = 2;

/** Writes a record's header at the start of `out`. */
export function putHeader(out: DataView, size: number, tag: number, flags = 0): void {
  out.setUint32(0, size % 2 ** 32, true);
  out.setUint32(4, Math.floor(size / 2 ** 32), true);
  out.setUint32(8, flags, true);
  out.setUint32(12, tag, true);
}

/** A record's header; a size above 2^53 comes out rounded, and above every limit. */
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
