/**
 * CapabilityBytes chains, as kernel 6.1 appends them to an info struct: one after the
 * other, not aligned.
 */

import { vfioInfoCapHeader } from "../../uapi/mod.ts";

/** The bytes of one capability; `next` in its header is not set yet. */
export type CapabilityBytes = Uint8Array<ArrayBuffer>;

/** A chain to be placed at `offset` of the struct; the last capability's `next` is 0. */
export function chain(
  capabilities: readonly CapabilityBytes[],
  offset: number,
): Uint8Array<ArrayBuffer> {
  const size = capabilities.reduce((sum, { length }) => sum + length, 0);
  const bytes = new Uint8Array(size);
  let at = 0;
  capabilities.forEach((item, index) => {
    bytes.set(item, at);
    at += item.length;
    const last = index === capabilities.length - 1;
    setNext(bytes, at - item.length, last ? 0 : offset + at);
  });
  return bytes;
}

/** Sets `next` of the capability at `at` to an offset of the struct. */
export function setNext(bytes: Uint8Array<ArrayBuffer>, at: number, next: number): void {
  const header = vfioInfoCapHeader.unpack(bytes, at);
  vfioInfoCapHeader.pack({ ...header, next }, bytes, at);
}
