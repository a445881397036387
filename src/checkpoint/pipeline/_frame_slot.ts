/**
 * How a frame lies in a slot of a ring. Its head ends where its body
 * begins, whatever is in the head's table, so that the body can be filled in
 * before its transactions are counted, and the frame is one piece all the same.
 *
 *     ... room ... │ head │ content │ ... room ... │ head │ compressed │ ...
 *
 * A frame that is not compressed has its content for a body. One that is has a
 * second place in the slot, and leaves the content for the digest.
 */

import { BATCH_BYTES } from "../batches/buffer_pool.ts";
import { FRAME_HEADER_SIZE, MAX_META } from "../frames/constants.ts";
import type { Slot } from "./ring.ts";

const HEAD_LENGTH = 0;
const BODY_LENGTH = 1;
const CONTENT_LENGTH = 2;

/** Room for the largest head of any frame; what follows begins a page. */
const HEAD_ROOM = Math.ceil((FRAME_HEADER_SIZE + MAX_META) / 4096) * 4096;

const CONTENT_AT = HEAD_ROOM;
const COMPRESSED_AT = CONTENT_AT + BATCH_BYTES + HEAD_ROOM;

/** The size of a slot for a frame, in bytes. */
export const FRAME_SLOT_BYTES: number = CONTENT_AT + BATCH_BYTES;
/** The size of a slot for a frame that may be compressed, in bytes. */
export const COMPRESSED_SLOT_BYTES: number = COMPRESSED_AT + BATCH_BYTES;

type Shared = Uint8Array<SharedArrayBuffer>;

/** A frame in a slot. */
export interface SlotFrame {
  /** Its header and its meta part. */
  readonly head: Shared;
  /** Its body. */
  readonly body: Shared;
  /** Both, as they are written. */
  readonly bytes: Shared;
  /** Its transactions' bytes, not compressed. */
  readonly content: Shared;
}

/** Where a body begins: one that is shorter than its content is compressed. */
function bodyAt(bodyLength: number, contentLength: number): number {
  return bodyLength < contentLength ? COMPRESSED_AT : CONTENT_AT;
}

/** Room for transactions. */
export function contentRoom({ bytes }: Slot): Shared {
  return bytes.subarray(CONTENT_AT, CONTENT_AT + BATCH_BYTES);
}

/**
 * Puts the compressed content into a slot.
 *
 * @returns Where it lies now.
 */
export function putCompressed({ bytes }: Slot, compressed: Uint8Array): Shared {
  bytes.set(compressed, COMPRESSED_AT);
  return bytes.subarray(COMPRESSED_AT, COMPRESSED_AT + compressed.length);
}

/** Says how long the parts of a frame are; returns room for its head. */
export function frameHead(
  { bytes, words }: Slot,
  headLength: number,
  bodyLength: number,
  contentLength: number,
): Shared {
  words[HEAD_LENGTH] = headLength;
  words[BODY_LENGTH] = bodyLength;
  words[CONTENT_LENGTH] = contentLength;
  const end = bodyAt(bodyLength, contentLength);
  return bytes.subarray(end - headLength, end);
}

/** The frame that was filled in. */
export function slotFrame({ bytes, words }: Slot): SlotFrame {
  const contentLength = words[CONTENT_LENGTH]!;
  const at = bodyAt(words[BODY_LENGTH]!, contentLength);
  const start = at - words[HEAD_LENGTH]!;
  const end = at + words[BODY_LENGTH]!;
  return {
    head: bytes.subarray(start, at),
    body: bytes.subarray(at, end),
    bytes: bytes.subarray(start, end),
    content: bytes.subarray(CONTENT_AT, CONTENT_AT + contentLength),
  };
}
