/**
 * HASH frames: hashes of the pages of a range of memory, for the other side to compare.
 */

import { FRAME_HEADER_SIZE } from "./constants.ts";
import { PAGE_UNIT } from "./page_frame.ts";

/** Bytes of a page's hash: 128 bits of SHA-256; all zero for a page of zeros. */
export const HASH_BYTES = 16;
/** Most bytes of memory that one frame is about. */
export const MAX_HASHED = 16 << 20;

const META_SIZE = 16;

/** The range that a HASH frame is about. */
export interface HashedRange {
  /** Where it begins. */
  readonly iova: bigint;
  /** Bytes, a multiple of 4096. */
  readonly length: number;
}

/** A HASH frame's head, but for the frame's header. */
export function packHashHead({ iova, length }: HashedRange): Uint8Array<ArrayBuffer> {
  const head = new Uint8Array(new ArrayBuffer(FRAME_HEADER_SIZE + META_SIZE));
  const view = new DataView(head.buffer, FRAME_HEADER_SIZE);
  view.setBigUint64(0, iova, true);
  view.setBigUint64(8, BigInt(length), true);
  return head;
}

/** Reads a HASH frame's meta part; a string says what is wrong with it. */
export function parseHashMeta(meta: Uint8Array, content: number): HashedRange | string {
  if (meta.length !== META_SIZE) return `a meta part of ${meta.length} bytes`;
  const view = new DataView(meta.buffer, meta.byteOffset, meta.length);
  const [iova, length] = [view.getBigUint64(0, true), Number(view.getBigUint64(8, true))];
  const whole = length % PAGE_UNIT === 0 && iova % BigInt(PAGE_UNIT) === 0n;
  if (!whole || length === 0 || length > MAX_HASHED || iova + BigInt(length) > 1n << 64n) {
    return `hashes of ${length} bytes of memory at 0x${iova.toString(16)}`;
  }
  const expected = length / PAGE_UNIT * HASH_BYTES;
  return content === expected ? { iova, length } : `${content} bytes of hashes, not ${expected}`;
}
