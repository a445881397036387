/**
 * How a DATA frame lies in a slot of a ring: its head ends where its body
 * begins, whatever is in the head's table, so that the body can be filled in
 * before its transactions are counted, and the frame is one piece all the same.
 *
 *     ... room ... │ head: header, meta part │ body │ ... room ...
 *                  └──── words[0] bytes ─────┴ words[1] bytes ┘
 */

import { batchHeadSize } from "../frames/data_frame.ts";
import { MAX_CHUNKS } from "../batches/batch_builder.ts";
import { BATCH_BYTES } from "../batches/buffer_pool.ts";
import type { Slot } from "./ring.ts";

const HEAD_LENGTH = 0;
const BODY_LENGTH = 1;

/** Where a body begins: behind the largest head, at the beginning of a page. */
const BODY_AT = Math.ceil(batchHeadSize(MAX_CHUNKS) / 4096) * 4096;

/** The size of a slot for a frame, in bytes. */
export const FRAME_SLOT_BYTES: number = BODY_AT + BATCH_BYTES;

type Shared = Uint8Array<SharedArrayBuffer>;

/** A frame in a slot. */
export interface SlotFrame {
  /** Its header and its meta part. */
  readonly head: Shared;
  /** Its body. */
  readonly body: Shared;
  /** Both, as they are written. */
  readonly bytes: Shared;
}

/** Room for a body. */
export function bodyRoom({ bytes }: Slot): Shared {
  return bytes.subarray(BODY_AT);
}

/** Room for a head of so many bytes. */
export function headRoom({ bytes }: Slot, length: number): Shared {
  return bytes.subarray(BODY_AT - length, BODY_AT);
}

/** Says what was filled in. */
export function setFrame({ words }: Slot, headLength: number, bodyLength: number): void {
  words[HEAD_LENGTH] = headLength;
  words[BODY_LENGTH] = bodyLength;
}

/** The frame that was filled in. */
export function slotFrame({ bytes, words }: Slot): SlotFrame {
  const start = BODY_AT - words[HEAD_LENGTH]!;
  const end = BODY_AT + words[BODY_LENGTH]!;
  return {
    head: bytes.subarray(start, BODY_AT),
    body: bytes.subarray(BODY_AT, end),
    bytes: bytes.subarray(start, end),
  };
}
