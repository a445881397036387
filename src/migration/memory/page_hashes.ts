/**
 * What was last sent of each page, as a hash: a page that is the same is not sent again.
 */

import { Buffer } from "node:buffer";
import { createHash, hash } from "node:crypto";
import { HASH_BYTES } from "../../checkpoint/frames/hash_frame.ts";

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

/** What is known of a page. */
const [UNSENT, SENT, HASHED] = [0, 1, 2];

/** The hashes of a mapping's pages, as they were last sent. */
export class PageHashes {
  readonly #hashes: Uint8Array;
  /** `UNSENT`, `SENT` or `HASHED`. */
  readonly #known: Uint8Array;
  readonly #lazy: boolean;

  /**
   * No page was sent yet.
   *
   * @param lazy Hashes a page only from the second time on that it is looked at.
   */
  constructor(pages: number, lazy: boolean) {
    this.#hashes = new Uint8Array(pages * HASH_BYTES);
    this.#known = new Uint8Array(pages);
    this.#lazy = lazy;
  }

  /** Whether a page was not sent yet, and is not hashed when it is. */
  isUnsent(page: number): boolean {
    return this.#lazy && this.#known[page] === UNSENT;
  }

  /** Notes that pages are sent without a look at their hashes. */
  sent(page: number, pages: number): void {
    this.#known.fill(SENT, page, page + pages);
  }

  /** Notes what a page is now, by its hash, or null for zeros; returns whether it was so already. */
  update(page: number, own: Uint8Array | null): boolean {
    const hash = own ?? ZERO;
    const at = page * HASH_BYTES;
    const same = this.#known[page] === HASHED &&
      Buffer.compare(this.#hashes.subarray(at, at + HASH_BYTES), hash) === 0;
    if (same) return true;
    this.#hashes.set(hash, at);
    this.#known[page] = HASHED;
    return false;
  }
}
