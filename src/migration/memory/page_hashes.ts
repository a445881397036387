/**
 * What was last sent of each page, as a hash: a page that is the same is not sent again.
 */

import { HASH_BYTES } from "../../checkpoint/frames/hash_frame.ts";
import { HASH_WORDS } from "./keyed_hash.ts";
import { sha256 } from "./sha256.ts";

/** A hash of a page, which is not all zero, that another process takes as well. */
export function hashPage(page: Uint8Array): Uint8Array {
  return sha256(page).subarray(0, HASH_BYTES);
}

/** What is known of a page. */
const [UNSENT, SENT, ZERO, HASHED] = [0, 1, 2, 3];

/** The hashes of a mapping's pages, as they were last sent. */
export class PageHashes {
  readonly #hashes: Uint32Array;
  /** `UNSENT`, `SENT`, `ZERO` or `HASHED`. */
  readonly #known: Uint8Array;
  readonly #lazy: boolean;

  /**
   * No page was sent yet.
   *
   * @param lazy Hashes a page only from the second time on that it is looked at.
   */
  constructor(pages: number, lazy: boolean) {
    this.#hashes = new Uint32Array(pages * HASH_WORDS);
    this.#known = new Uint8Array(pages);
    this.#lazy = lazy;
  }

  /**
   * Whether a page is sent without a look at its hash: it has none, and needs none.
   *
   * @param last Whether pages are looked at for the last time.
   */
  needsNone(page: number, last: boolean): boolean {
    const known = this.#known[page]!;
    return this.#lazy && (known === UNSENT || last && known !== HASHED);
  }

  /** Notes that pages are sent without a look at their hashes. */
  sent(page: number, pages: number): void {
    this.#known.fill(SENT, page, page + pages);
  }

  /** Notes that a page is all zero now; returns whether it was so already. */
  zero(page: number): boolean {
    if (this.#known[page] === ZERO) return true;
    this.#known[page] = ZERO;
    return false;
  }

  /** Notes the hash of what a page is now; returns whether it was the same already. */
  update(page: number, hash: Uint32Array): boolean {
    if (this.#known[page] === HASHED && this.#equals(page, hash)) return true;
    this.#hashes.set(hash, page * HASH_WORDS);
    this.#known[page] = HASHED;
    return false;
  }

  #equals(page: number, hash: Uint32Array): boolean {
    // A view of each page's words would take as long as the hash.
    const at = page * HASH_WORDS;
    for (let word = 0; word < HASH_WORDS; word++) {
      if (this.#hashes[at + word] !== hash[word]) return false;
    }
    return true;
  }
}
