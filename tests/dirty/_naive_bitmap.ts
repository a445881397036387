/** The bitmap the slow and obvious way: a set of page numbers. */

import fc from "fast-check";
import assert from "node:assert/strict";
import { DirtyBitmap, type DirtyRun } from "../../src/dirty/bitmap/bitmap.ts";
import { bitmapBytes } from "../../src/dirty/bitmap/bitmap_range.ts";
import type { Mapping } from "../../src/kernel/kernel.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Like deepEqual, for long lists: reports the first difference, not the diff of all. */
export function assertSame<T>(actual: Iterable<T>, expected: Iterable<T>): void {
  const [one, two] = [[...actual], [...expected]];
  for (let index = 0; index < Math.max(one.length, two.length); index++) {
    // Numbers are most of it; deepEqual takes its time.
    if (one[index] !== two[index]) {
      assert.deepEqual(one[index], two[index], `item ${index} differs`);
    }
  }
}

/** A range and which of its pages are dirty. */
export interface Naive {
  readonly iova: bigint;
  readonly pgsize: number;
  readonly pages: number;
  readonly dirty: ReadonlySet<number>;
}

/** The dirty pages of a bitmap, bit by bit from its bytes. */
export function dirtyOf(bytes: Uint8Array, pages: number): Set<number> {
  const dirty = new Set<number>();
  for (let page = 0; page < pages; page++) {
    if ((bytes[Math.floor(page / 8)]! & (1 << page % 8)) !== 0) dirty.add(page);
  }
  return dirty;
}

/** The bytes of a bitmap, bit by bit. */
export function bytesOf({ dirty, pages }: Naive): Bytes {
  const bytes = new Uint8Array(new ArrayBuffer(bitmapBytes(pages)));
  for (const page of dirty) bytes[Math.floor(page / 8)]! |= 1 << page % 8;
  return bytes;
}

/** First page and length of each run. */
export function runsOf({ dirty, pages }: Naive): [number, number][] {
  const runs: [number, number][] = [];
  for (let page = 0; page < pages; page++) {
    if (!dirty.has(page)) continue;
    if (dirty.has(page - 1)) runs.at(-1)![1]++;
    else runs.push([page, 1]);
  }
  return runs;
}

/** The same with addresses. */
export function addressRunsOf(naive: Naive): DirtyRun[] {
  const pgsize = BigInt(naive.pgsize);
  return runsOf(naive).map(([page, pages]) => ({
    iova: naive.iova + BigInt(page) * pgsize,
    size: BigInt(pages) * pgsize,
  }));
}

/** A stand-in for memory of the kernel's own: copies only. */
export class CopiedMemory implements Mapping {
  readonly address = 0x7f00_0000_0000n;
  readonly length: number;
  readonly #bytes: Bytes;

  constructor(bytes: Bytes) {
    this.#bytes = bytes;
    this.length = bytes.length;
  }

  read(offset: number, into: Uint8Array): void {
    if (offset + into.length > this.length) throw new RangeError("Cannot read past the end");
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }

  write(offset: number, from: Uint8Array): void {
    this.#bytes.set(from, offset);
  }

  close(): void {}

  [Symbol.dispose](): void {}
}

/** The bitmap over memory that is odd in every allowed way. */
export interface Laid {
  readonly naive: Naive;
  readonly bitmap: DirtyBitmap;
}

const pageCounts = fc.oneof(
  fc.integer({ min: 0, max: 700 }),
  // About the block (2^17 pages) that bitmaps are gone through by.
  fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: -130, max: 130 }))
    .map(([blocks, more]) => blocks * 131072 + more),
);

/** Runs of any length, many of them where words and blocks meet. */
function dirtyRuns(pages: number): fc.Arbitrary<Set<number>> {
  const page = fc.oneof(
    fc.nat(Math.max(0, pages - 1)),
    fc.tuple(fc.nat(Math.floor(pages / 64)), fc.constantFrom(-1, 0, 1))
      .map(([word, next]) => Math.max(0, word * 64 + next)),
    fc.tuple(fc.nat(Math.floor(pages / 131072)), fc.integer({ min: -3, max: 3 }))
      .map(([block, next]) => Math.max(0, block * 131072 + next)),
  );
  const length = fc.oneof(fc.constant(1), fc.nat(10), fc.nat(300));
  return fc.array(fc.tuple(page, length), { maxLength: 12 }).map((runs) => {
    const dirty = new Set<number>();
    for (const [first, length] of runs) {
      for (let next = first; next < Math.min(pages, first + length); next++) dirty.add(next);
    }
    return dirty;
  });
}

/** Words side by side that differ, or agree, in their first and last bits. */
function dirtyWords(pages: number): fc.Arbitrary<Set<number>> {
  const ones = 2n ** 64n - 1n;
  const ends = [1n, 2n, 3n, 1n << 62n, 1n << 63n, 3n << 62n];
  const word = fc.oneof(
    fc.constantFrom(0n, ones, ...ends, ...ends.map((end) => ones ^ end)),
    fc.bigInt({ min: 0n, max: ones }),
  );
  const start = fc.nat(Math.floor(pages / 64));
  return fc.tuple(start, fc.array(word, { maxLength: 40 })).map(([start, words]) => {
    const dirty = new Set<number>();
    for (const [index, word] of words.entries()) {
      for (let bit = 0; bit < 64; bit++) {
        const page = (start + index) * 64 + bit;
        if (page < pages && (word >> BigInt(bit) & 1n) === 1n) dirty.add(page);
      }
    }
    return dirty;
  });
}

/** A range with its dirty pages: scattered, in runs, across words and blocks. */
export const naives: fc.Arbitrary<Naive> = fc.tuple(pageCounts, fc.integer({ min: 0, max: 21 }))
  .chain(([pages, shift]) =>
    fc.record({
      iova: fc.bigInt({ min: 0n, max: (1n << 40n) - 1n }).map((n) => n << BigInt(shift)),
      pgsize: fc.constant(2 ** shift),
      pages: fc.constant(pages),
      dirty: fc.oneof(dirtyRuns(pages), dirtyWords(pages)),
    })
  );

/** Lays it over bytes at any alignment, or kernel memory, with rubbish past the last page. */
export function lay(naive: Naive, skew: number, slack: number, mapped: boolean): Laid {
  const bits = bytesOf(naive);
  const rest = naive.pages % 8;
  if (rest !== 0) bits[Math.floor(naive.pages / 8)]! |= 0xff << rest;
  bits.fill(0xff, Math.ceil(naive.pages / 8));
  const buffer = new Uint8Array(new ArrayBuffer(skew + bits.length + slack)).fill(0xff);
  buffer.set(bits, skew);
  const memory = buffer.subarray(skew);
  const size = BigInt(naive.pages) * BigInt(naive.pgsize);
  const range = { iova: naive.iova, size, pgsize: naive.pgsize };
  return { naive, bitmap: DirtyBitmap.over(range, mapped ? new CopiedMemory(memory) : memory) };
}

/** Any bitmap. */
export const laid: fc.Arbitrary<Laid> = fc
  .tuple(naives, fc.nat(9), fc.nat(9), fc.boolean())
  .map(([naive, skew, slack, mapped]) => lay(naive, skew, slack, mapped));
