/**
 * Copies of pages that are to be hashed, several at a time: each call out of the runtime costs as
 * much as hashing a part of a page.
 */

import { PAGE_UNIT } from "../../checkpoint/frames/page_frame.ts";
import { HASH_PAGES, newPageHash, type PageHash } from "./keyed_hash.ts";

/** Pages that follow on each other, and that are hashed in that order. */
interface Run {
  /** The page behind the last one. */
  readonly end: number;
}

/** The pages that were copied last. */
export class CopiedPages {
  readonly #hash: PageHash = newPageHash();
  readonly #words: Uint32Array = new Uint32Array(
    this.#hash.pages.buffer,
    this.#hash.pages.byteOffset,
    this.#hash.pages.length / 4,
  );
  #run: Run | null = null;
  #first = 0;
  #end = 0;

  /** Whether a page was copied that does not begin with zeros. */
  isOther(run: Run, page: number): boolean {
    return this.#has(run, page) && this.#words[(page - this.#first) * PAGE_UNIT / 4] !== 0;
  }

  #has(run: Run, page: number): boolean {
    return run === this.#run && page < this.#end;
  }

  /** Copies a page and some of those that follow, unless it was copied already. */
  copy(run: Run, page: number, read: (into: Uint8Array) => void): void {
    if (this.#has(run, page)) return;
    const pages = Math.min(HASH_PAGES, run.end - page);
    read(this.#hash.pages.subarray(0, pages * PAGE_UNIT));
    [this.#run, this.#first, this.#end] = [run, page, page + pages];
  }

  /** The hash of a page that was copied. */
  hash(page: number): Uint32Array {
    return this.#hash.hash(page - this.#first);
  }

  /** A page that was copied. */
  bytes(page: number): Uint8Array {
    const at = (page - this.#first) * PAGE_UNIT;
    return this.#hash.pages.subarray(at, at + PAGE_UNIT);
  }
}
