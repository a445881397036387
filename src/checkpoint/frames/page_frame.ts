/**
 * PAGE frames: the content of memory that a device reaches by DMA.
 */

import { FRAME_HEADER_SIZE, MAX_BODY } from "./constants.ts";

/** What a PAGE frame says of a range of memory. */
export interface PageEntry {
  /** Where it begins. */
  readonly iova: bigint;
  /** Bytes, a multiple of 4096. */
  readonly length: number;
  /** Whether it is all zero, and has no bytes in the body. */
  readonly zero: boolean;
}

/** Size of an entry, in bytes. */
const ENTRY_SIZE = 16;
/** Most entries of one frame. */
export const MAX_PAGE_ENTRIES = 4080;
/** The unit of ranges in bytes, whatever the page size of an IOMMU. */
export const PAGE_UNIT = 4096;
/** Most bytes of one range of zeros. */
export const MAX_ZEROS = 2 ** 31;

const KIND_BYTES = 1;
const KIND_ZERO = 2;

/** The length of a PAGE frame's head: its header, and the meta part for so many entries. */
export function pageHeadSize(entries: number): number {
  return FRAME_HEADER_SIZE + ENTRY_SIZE * entries;
}

/** Writes a PAGE frame's meta part into its head, behind room for the frame's header. */
export function writePageMeta(head: Uint8Array, entries: readonly PageEntry[]): void {
  const view = new DataView(head.buffer, head.byteOffset + FRAME_HEADER_SIZE);
  for (const [index, { iova, length, zero }] of entries.entries()) {
    view.setBigUint64(ENTRY_SIZE * index, iova, true);
    view.setUint32(ENTRY_SIZE * index + 8, length, true);
    view.setUint32(ENTRY_SIZE * index + 12, zero ? KIND_ZERO : KIND_BYTES, true);
  }
}

/**
 * Reads a PAGE frame's meta part; a string says what is wrong with it.
 *
 * @param content Bytes of the body; null if it is compressed, see {@linkcode pageContent}.
 */
export function parsePageMeta(meta: Uint8Array, content: number | null): PageEntry[] | string {
  const count = meta.length / ENTRY_SIZE;
  if (!Number.isInteger(count) || count < 1 || count > MAX_PAGE_ENTRIES) {
    return `a meta part of ${meta.length} bytes`;
  }
  const view = new DataView(meta.buffer, meta.byteOffset, meta.length);
  const entries: PageEntry[] = [];
  let bytes = 0;
  for (let index = 0; index < count; index++) {
    const iova = view.getBigUint64(ENTRY_SIZE * index, true);
    const length = view.getUint32(ENTRY_SIZE * index + 8, true);
    const kind = view.getUint32(ENTRY_SIZE * index + 12, true);
    if (kind !== KIND_BYTES && kind !== KIND_ZERO) return `memory of kind ${kind}`;
    const most = kind === KIND_BYTES ? MAX_BODY : MAX_ZEROS;
    const unit = BigInt(PAGE_UNIT);
    if (length === 0 || length > most || length % PAGE_UNIT !== 0 || iova % unit !== 0n) {
      return `${length} bytes of memory at 0x${iova.toString(16)}`;
    }
    if (iova + BigInt(length) > 1n << 64n) return "memory beyond 2^64";
    if (kind === KIND_BYTES) bytes += length;
    entries.push({ iova, length, zero: kind === KIND_ZERO });
  }
  return content === null || bytes === content
    ? entries
    : `${content} bytes, and ranges that make ${bytes}`;
}

/** The bytes of the body that entries describe, as they are uncompressed. */
export function pageContent(entries: readonly PageEntry[]): number {
  return entries.reduce((sum, { length, zero }) => zero ? sum : sum + length, 0);
}
