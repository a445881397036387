/**
 * A hash of pages under a secret key: several times as fast as SHA-256, for what this process alone
 * compares.
 */

import { PAGE_UNIT } from "../../checkpoint/frames/page_frame.ts";
import { HASH_WASM } from "./_keyed_hash_wasm.ts";
import { sha256 } from "./sha256.ts";

/** Words of 32 bits of a page's hash. */
export const HASH_WORDS = 8;

/** Most pages that are copied at a time. */
export const HASH_PAGES = 16;

/** Where the key, the hash and the pages are in the module's memory. */
const [KEY_AT, KEY_BYTES, HASH_AT, PAGES_AT] = [0, PAGE_UNIT + 48, 4160, 8192];

/** Hashes pages. */
export interface PageHash {
  /** Where the pages are copied to. */
  readonly pages: Uint8Array<ArrayBuffer>;
  /** The hash of one of them, by its number: 256 bits, which the next one overwrites. */
  hash(page: number): Uint32Array;
}

/**
 * A hash with a new key, which nobody else learns. Whoever writes the pages cannot know the key, so
 * two pages that differ have the same hash with a probability of at most 2^-128, whatever they are.
 */
export function newPageHash(): PageHash {
  try {
    return nh(new WebAssembly.Module(Uint8Array.fromBase64(HASH_WASM)));
  } catch (error) {
    // Not every processor has what 128-bit vectors need.
    if (error instanceof WebAssembly.CompileError) return sha256PageHash();
    throw error;
  }
}

function nh(module: WebAssembly.Module): PageHash {
  const { memory, hash } = new WebAssembly.Instance(module).exports as unknown as {
    readonly memory: { readonly buffer: ArrayBuffer };
    readonly hash: (at: number) => void;
  };
  crypto.getRandomValues(new Uint8Array(memory.buffer, KEY_AT, KEY_BYTES));
  const words = new Uint32Array(memory.buffer, HASH_AT, HASH_WORDS);
  return {
    pages: new Uint8Array(memory.buffer, PAGES_AT, HASH_PAGES * PAGE_UNIT),
    hash(page): Uint32Array {
      hash(PAGES_AT + page * PAGE_UNIT);
      return words;
    },
  };
}

/** The same by SHA-256, which has no key. */
export function sha256PageHash(): PageHash {
  const pages = new Uint8Array(new ArrayBuffer(HASH_PAGES * PAGE_UNIT));
  const bytes = new Uint8Array(4 * HASH_WORDS);
  const words = new Uint32Array(bytes.buffer);
  return {
    pages,
    hash(page): Uint32Array {
      const content = pages.subarray(page * PAGE_UNIT, (page + 1) * PAGE_UNIT);
      bytes.set(sha256(content));
      return words;
    },
  };
}
