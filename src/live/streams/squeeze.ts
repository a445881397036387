/**
 * Memory compressed, where that pays.
 */

import { compressToFrame, giveBack } from "../../checkpoint/frames/zstd.ts";

/** Compressed memory has at most this part of its bytes. */
const WORTH = 0.9;

/** Memory compressed; null if that saves less than a tenth, which is not worth unpacking. */
export function squeeze(content: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | null {
  const squeezed = compressToFrame(content);
  if (squeezed === null || squeezed.length < WORTH * content.length) return squeezed;
  giveBack(squeezed);
  return null;
}
