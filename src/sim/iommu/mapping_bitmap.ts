/**
 * The dirty pages of one DMA mapping: the bitmap that type1_tracking.ts keeps for each
 * mapping while VFIO_IOMMU_DIRTY_PAGES is on. It is stored and reported as kernel
 * 6.1 does, including the kernel's side effect below. The DMA log of a v2 device
 * (dma_log.ts) does not use it.
 *
 * The bitmap has one word more than the pages need. If a mapping does not begin at
 * a word of the caller's bitmap, its bits are shifted in place, into that word. The
 * bits are then cleared only up to the last page. Bits that remain after it show up
 * in later reports as dirty pages that nobody wrote to.
 */

import { refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import type { UserMemory } from "../os/user_memory.ts";

/** DIRTY_BITMAP_PAGES_MAX of drivers/vfio/vfio_iommu_type1.c: INT_MAX. */
const MAX_PAGES = 2 ** 31 - 1;

const WORD_BITS = 64;
const WORD_BYTES = 8;

/** The bytes that so many bits take, in whole words. */
function bitmapBytes(bits: number): number {
  return Math.ceil(bits / WORD_BITS) * WORD_BYTES;
}

/** One bit per page, in 64-bit words that are stored as halves. */
export class MappingBitmap {
  readonly #pages: number;
  readonly #halves: Uint32Array<ArrayBuffer>;

  constructor(pages: number) {
    if (pages > MAX_PAGES) refuse("EINVAL");
    this.#pages = pages;
    try {
      this.#halves = new Uint32Array(bitmapBytes(pages) / 4 + 2);
    } catch {
      refuse("ENOMEM");
    }
  }

  /** Marks pages dirty. */
  mark(first: number, count: number): void {
    for (let page = first; page < first + count;) {
      if (page % 32 === 0 && page + 32 <= first + count) {
        const half = page / 32;
        const whole = Math.floor((first + count) / 32);
        this.#halves.fill(0xffff_ffff, half, whole);
        page = whole * 32;
      } else {
        this.#halves[page >>> 5]! |= 1 << (page & 31);
        page += 1;
      }
    }
  }

  /** Marks every page dirty. */
  markAll(): void {
    this.mark(0, this.#pages);
  }

  /** Marks every page clean. Bits after the last page stay. */
  clear(): void {
    const whole = Math.floor(this.#pages / 32);
    this.#halves.fill(0, 0, whole);
    if (this.#pages % 32 !== 0) this.#halves[whole]! &= -1 << (this.#pages % 32);
  }

  /**
   * Writes the bits into a caller's bitmap at `address`; the first page is bit
   * number `at`. Whole words are written. Bits that the caller's first word
   * already has are kept.
   */
  copyOut(user: UserMemory, address: bigint, at: number): void {
    const shift = at % WORD_BITS;
    const length = bitmapBytes(this.#pages + shift);
    const to = address + BigInt(Math.floor(at / WORD_BITS) * WORD_BYTES);
    if (shift !== 0) {
      this.#moveUp(shift, length / 4);
      const word: Bytes = new Uint8Array(WORD_BYTES);
      user.read(to, word);
      const view = new DataView(word.buffer);
      this.#halves[0]! |= view.getUint32(0, true);
      this.#halves[1]! |= view.getUint32(4, true);
    }
    user.write(to, new Uint8Array(this.#halves.buffer, 0, length));
  }

  #moveUp(shift: number, length: number): void {
    const halves = this.#halves;
    const skip = shift >>> 5;
    const bits = shift & 31;
    for (let i = length - 1; i >= 0; i -= 1) {
      const low = halves[i - skip - 1] ?? 0;
      const high = halves[i - skip] ?? 0;
      halves[i] = bits === 0 ? high : (high << bits) | (low >>> (32 - bits));
    }
  }
}
