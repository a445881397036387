/**
 * Capability chains, as kernel 6.1 appends them to an info struct: one behind
 * the other, not aligned.
 */

import { vfioInfoCapHeader } from "../uapi/mod.ts";

/** One capability: its bytes, with a header in which only `next` is missing. */
export type Capability = Uint8Array<ArrayBuffer>;

/** The chain, to lie at `offset` of the struct; the last one's `next` is 0. */
export function chain(
  capabilities: readonly Capability[],
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

/** Points the capability at `at` to an offset of the struct. */
export function setNext(bytes: Uint8Array<ArrayBuffer>, at: number, next: number): void {
  const header = vfioInfoCapHeader.unpack(bytes, at);
  vfioInfoCapHeader.pack({ ...header, next }, bytes, at);
}
