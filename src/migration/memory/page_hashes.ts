/**
 * What was last sent of each page, as a hash: a page that is the same is not sent again.
 */

import { Buffer } from "node:buffer";
import { createHash, hash } from "node:crypto";
import { HASH_BYTES } from "../../checkpoint/frames/hash_frame.ts";
import type { IovaMapping } from "../../vfio/dma/iova.ts";

/** The hash of a page of zeros is not taken, but agreed on. */
const ZERO: Uint8Array = new Uint8Array(HASH_BYTES);

/** A hash of a page, which is not all zero. */
export function hashPage(page: Uint8Array): Uint8Array {
  // `hash` is the faster, and not in all versions of the runtimes.
  const whole = typeof hash === "function"
    ? hash("sha256", page, "buffer")
    : createHash("sha256").update(page).digest();
  return whole.subarray(0, HASH_BYTES);
}

/** The hashes of a mapping's pages. */
export class PageHashes {
  /** The mapping. */
  readonly range: IovaMapping;
  readonly #hashes: Uint8Array;
  /** Which of them are known. */
  readonly #known: Uint8Array;

  /** No page was sent yet. */
  constructor(range: IovaMapping, pages: number) {
    this.range = range;
    this.#hashes = new Uint8Array(pages * HASH_BYTES);
    this.#known = new Uint8Array(pages);
  }

  /** Notes what a page is now, by its hash, or null for zeros; returns whether it was so already. */
  update(page: number, own: Uint8Array | null): boolean {
    const hash = own ?? ZERO;
    const at = page * HASH_BYTES;
    const same = this.#known[page] === 1 &&
      Buffer.compare(this.#hashes.subarray(at, at + HASH_BYTES), hash) === 0;
    if (same) return true;
    this.#hashes.set(hash, at);
    this.#known[page] = 1;
    return false;
  }
}
