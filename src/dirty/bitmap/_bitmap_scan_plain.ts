/**
 * The inner loops of _bitmap_scan.wat in JavaScript, for runtimes that have no
 * vectors on this CPU: Bun needs AVX for them, which virtual machines often
 * lack. Several times slower, with the same results.
 */

/** The inner loops, with their own memory; see _bitmap_scan.wat. */
export interface ScanLoops {
  readonly memory: { readonly buffer: ArrayBuffer };
  count(end: number): number;
  scan(end: number, base: number, out: number, edges: number): number;
}

/** Where the block is, in words of 32 bits; the two words before it are kept before it. */
const BLOCK_AT = 16;

/** The loops, over memory of so many bytes. */
export function plainLoops(bytes: number): ScanLoops {
  const words = new Uint32Array(bytes / 4);

  function count(end: number): number {
    let pages = 0;
    for (let at = BLOCK_AT; at < end / 4; at++) pages += bitsIn(words[at]!);
    return pages;
  }

  function scan(end: number, base: number, out: number, edges: number): number {
    let to = out / 4;
    let before = words[BLOCK_AT - 1]!;
    for (let at = BLOCK_AT; at < end / 4; at++) {
      const word = words[at]!;
      const first = base + (at - BLOCK_AT) * 32;
      let bits = word ^ (edges & ((word << 1) | (before >>> 31)));
      before = word;
      for (; bits !== 0; bits &= bits - 1) words[to++] = first + 31 - Math.clz32(bits & -bits);
    }
    words.copyWithin(BLOCK_AT - 2, end / 4 - 2, end / 4);
    return to * 4;
  }

  return { memory: { buffer: words.buffer }, count, scan };
}

function bitsIn(word: number): number {
  const pairs = word - ((word >>> 1) & 0x5555_5555);
  const fours = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
