/**
 * Dirty bitmaps as the kernel fills them: one bit a page, from the first page
 * of a range on, little-endian in words of 64 bits.
 *
 * @module
 */

import type { Mapping } from "../../kernel/kernel.ts";
import { type BitmapMemory, BufferMemory, MappedMemory, STEP_BYTES } from "./bitmap_memory.ts";
import { describeRange, pageIn } from "./_bitmap_part.ts";
import { countSet, Scan } from "./bitmap_scan.ts";
import { andNotWords, inPages, orWords, setBits, wordsOf } from "./_bitmap_words.ts";
import { bitmapBytes, type BitmapRange, pagesOf } from "./bitmap_range.ts";

/** Pages that lie side by side: `[iova, iova + size)`. */
export interface DirtyRun {
  /** The address of the first page. */
  readonly iova: bigint;
  /** Bytes, whole pages. */
  readonly size: bigint;
}

/**
 * Which pages of a range of IOVAs are dirty. It never changes by itself, but
 * the memory it was laid {@linkcode DirtyBitmap.over} may: {@linkcode
 * DirtyBitmap.copy} keeps what is there now. Bits past the last page never
 * count, whatever the memory has there.
 *
 * @example
 * ```ts
 * import { DirtyBitmap } from "vfiokit/dirty";
 * import assert from "node:assert/strict";
 *
 * const range = { iova: 0x10000n, size: 0x8000n, pgsize: 4096 };
 * const bitmap = DirtyBitmap.over(range, Uint8Array.of(0b0000_1101, 0, 0, 0, 0, 0, 0, 0));
 * assert.equal(bitmap.count(), 3);
 * assert.deepEqual([...bitmap.pages()], [0x10000n, 0x12000n, 0x13000n]);
 * assert.deepEqual([...bitmap.runs()], [
 *   { iova: 0x10000n, size: 0x1000n },
 *   { iova: 0x12000n, size: 0x2000n },
 * ]);
 * ```
 */
export class DirtyBitmap implements BitmapRange {
  /** The address of the first page. */
  readonly iova: bigint;
  /** Bytes of the range. */
  readonly size: bigint;
  /** Bytes of a page. */
  readonly pgsize: number;
  /** Pages of the range, dirty or not. */
  readonly pageCount: number;
  readonly #memory: BitmapMemory;

  private constructor(range: BitmapRange, pages: number, memory: BitmapMemory) {
    this.iova = range.iova;
    this.size = range.size;
    this.pgsize = range.pgsize;
    this.pageCount = pages;
    this.#memory = memory;
  }

  /**
   * A bitmap over memory that has it already: bytes, or what the kernel mapped.
   * Nothing is copied. What is longer than needed is not looked at.
   *
   * @throws {RangeError} If the range is none (see {@linkcode pagesOf}), or the
   *   memory is shorter than {@linkcode bitmapBytes}.
   */
  static over(range: BitmapRange, memory: Uint8Array<ArrayBuffer> | Mapping): DirtyBitmap {
    const pages = pagesOf(range);
    if (memory.length < bitmapBytes(pages)) {
      throw new RangeError(
        `Cannot lay a bitmap of ${pages} pages over ${memory.length} bytes: it needs ` +
          `${bitmapBytes(pages)}`,
      );
    }
    const bits = memory instanceof Uint8Array ? new BufferMemory(memory) : new MappedMemory(memory);
    return new DirtyBitmap(range, pages, bits);
  }

  /**
   * A bitmap with these pages dirty and no other.
   *
   * @throws {RangeError} If the range is none, or a run is not whole pages of it.
   *
   * @example
   * ```ts
   * import { DirtyBitmap } from "vfiokit/dirty";
   * import assert from "node:assert/strict";
   *
   * const range = { iova: 0n, size: 1n << 20n, pgsize: 4096 };
   * assert.equal(DirtyBitmap.fromRuns(range, []).isEmpty(), true);
   * assert.equal(DirtyBitmap.fromRuns(range, [range]).count(), 256);
   * ```
   */
  static fromRuns(range: BitmapRange, runs: Iterable<DirtyRun>): DirtyBitmap {
    const pages = pagesOf(range);
    const words = new Uint32Array(bitmapBytes(pages) / 4);
    for (const run of runs) {
      const first = pageIn(range, run);
      setBits(words, first, first + Number(run.size / BigInt(range.pgsize)));
    }
    return DirtyBitmap.#of(range, words);
  }

  static #of(range: BitmapRange, words: Uint32Array<ArrayBuffer>): DirtyBitmap {
    return DirtyBitmap.over(range, new Uint8Array(words.buffer));
  }

  /** How many pages are dirty. */
  count(): number {
    return countSet(this.#memory, this.pageCount);
  }

  /** Whether no page is dirty. */
  isEmpty(): boolean {
    const whole = Math.floor(this.pageCount / 8);
    if (!this.#memory.isZero(whole)) return false;
    if (this.pageCount % 8 === 0) return true;
    const last = new Uint8Array(new ArrayBuffer(1));
    this.#memory.read(whole, last);
    return (last[0]! & (0xff >>> (8 - this.pageCount % 8))) === 0;
  }

  /** The addresses of the dirty pages, ascending. */
  *pages(): Generator<bigint, void, void> {
    const pgsize = BigInt(this.pgsize);
    for (const batch of this.pageBatches()) {
      // An index, as the batch's memory is the next batch's, too.
      for (let index = 0; index < batch.length; index++) {
        yield this.iova + BigInt(batch[index]!) * pgsize;
      }
    }
  }

  /**
   * The numbers of the dirty pages, ascending, many at a time: page `n` is at
   * `iova + n * pgsize`. The fast way through a bitmap with many bits set.
   *
   * A batch is a view of memory that the following batch is written to.
   *
   * @example
   * ```ts
   * import { DirtyBitmap } from "vfiokit/dirty";
   * import assert from "node:assert/strict";
   *
   * const range = { iova: 0n, size: 0x40000n, pgsize: 4096 };
   * const bitmap = DirtyBitmap.fromRuns(range, [{ iova: 0x2000n, size: 0x2000n }]);
   * let sum = 0;
   * for (const batch of bitmap.pageBatches()) {
   *   for (let index = 0; index < batch.length; index++) sum += batch[index]!;
   * }
   * assert.equal(sum, 2 + 3);
   * ```
   */
  *pageBatches(): Generator<Uint32Array<ArrayBuffer>, void, void> {
    using scan = new Scan(this.#memory, this.pageCount, "pages");
    for (let batch = scan.next(); batch !== null; batch = scan.next()) yield batch;
  }

  /** The dirty runs, ascending, each as long as can be. */
  *runs(): Generator<DirtyRun, void, void> {
    const pgsize = BigInt(this.pgsize);
    using scan = new Scan(this.#memory, this.pageCount, "runs");
    for (let batch = scan.next(); batch !== null; batch = scan.next()) {
      for (let index = 0; index < batch.length; index += 2) {
        const first = batch[index]!;
        const pages = batch[index + 1]! - first;
        yield { iova: this.iova + BigInt(first) * pgsize, size: BigInt(pages) * pgsize };
      }
    }
  }

  /**
   * Calls back for each dirty run, ascending: with the number of its first page
   * (page `n` is at `iova + n * pgsize`) and how many pages it has. Many times
   * the speed of {@linkcode DirtyBitmap.runs}, which makes an object a run.
   *
   * @example
   * ```ts
   * import { DirtyBitmap } from "vfiokit/dirty";
   * import assert from "node:assert/strict";
   *
   * const range = { iova: 0n, size: 0x40000n, pgsize: 4096 };
   * const bitmap = DirtyBitmap.fromRuns(range, [{ iova: 0x2000n, size: 0x3000n }]);
   * bitmap.forEachRun((page, pages) => assert.deepEqual([page, pages], [2, 3]));
   * ```
   */
  forEachRun(callback: (page: number, pages: number) => void): void {
    using scan = new Scan(this.#memory, this.pageCount, "runs");
    for (let batch = scan.next(); batch !== null; batch = scan.next()) {
      for (let index = 0; index < batch.length; index += 2) {
        const first = batch[index]!;
        callback(first, batch[index + 1]! - first);
      }
    }
  }

  /**
   * The pages dirty in this bitmap, in the other, or in both.
   *
   * @throws {RangeError} If the other is about another range or page size.
   */
  union(other: DirtyBitmap): DirtyBitmap {
    return this.#combined(other, orWords);
  }

  /**
   * The pages dirty in this bitmap and not in the other.
   *
   * @throws {RangeError} If the other is about another range or page size.
   */
  difference(other: DirtyBitmap): DirtyBitmap {
    return this.#combined(other, andNotWords);
  }

  #combined(other: DirtyBitmap, operation: typeof orWords): DirtyBitmap {
    const { iova, size, pgsize } = other;
    if (iova !== this.iova || size !== this.size || pgsize !== this.pgsize) {
      throw new RangeError(
        `Cannot combine bitmaps: one is ${describeRange(this)}, the other is ${
          describeRange(other)
        }`,
      );
    }
    // What the other has past its last page may get in; it never counts.
    const words = this.#words();
    const step = new Uint32Array(STEP_BYTES / 4);
    const stepBytes = new Uint8Array(step.buffer);
    const length = words.length * 4;
    for (let offset = 0; offset < length; offset += STEP_BYTES) {
      const part = stepBytes.subarray(0, length - offset);
      other.#memory.read(offset, part);
      operation(words, offset / 4, step, part.length / 4);
    }
    return DirtyBitmap.#of(this, words);
  }

  /**
   * A part of it, as a separate bitmap.
   *
   * @throws {RangeError} If the part is not whole pages of the range.
   *
   * @example
   * ```ts
   * import { DirtyBitmap } from "vfiokit/dirty";
   * import assert from "node:assert/strict";
   *
   * const range = { iova: 0x10000n, size: 0x40000n, pgsize: 4096 };
   * const bitmap = DirtyBitmap.fromRuns(range, [{ iova: 0x12000n, size: 0x4000n }]);
   * const part = bitmap.slice(0x15000n, 0x2000n);
   * assert.deepEqual([...part.runs()], [{ iova: 0x15000n, size: 0x1000n }]);
   * ```
   */
  slice(iova: bigint, size: bigint): DirtyBitmap {
    const range = { iova, size, pgsize: this.pgsize };
    const first = pageIn(this, range);
    return DirtyBitmap.#of(range, wordsOf(this.#memory, first, first + pagesOf(range)));
  }

  /** The same bits in separate memory. */
  copy(): DirtyBitmap {
    return DirtyBitmap.#of(this, this.#words());
  }

  /** The bitmap as the kernel lays it out: {@linkcode bitmapBytes} bytes, a copy. */
  toBytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#words().buffer);
  }

  #words(): Uint32Array<ArrayBuffer> {
    return wordsOf(this.#memory, 0, this.pageCount);
  }

  /**
   * The same in other pages. A larger page is dirty if any part of it is; a
   * smaller one if the page around it is. The range grows at both ends to
   * whole pages of the new size.
   *
   * @throws {RangeError} If the page size is no power of two, or the pages
   *   become more than {@linkcode BITMAP_PAGES_MAX}.
   *
   * @example
   * ```ts
   * import { DirtyBitmap } from "vfiokit/dirty";
   * import assert from "node:assert/strict";
   *
   * const range = { iova: 0x1000n, size: 0x3000n, pgsize: 4096 };
   * const bitmap = DirtyBitmap.fromRuns(range, [{ iova: 0x3000n, size: 0x1000n }]);
   * const coarse = bitmap.withPgsize(8192);
   * assert.deepEqual([coarse.iova, coarse.size], [0n, 0x4000n]);
   * assert.deepEqual([...coarse.pages()], [0x2000n]);
   * ```
   */
  withPgsize(pgsize: number): DirtyBitmap {
    const { range, words } = inPages(this, pgsize);
    return DirtyBitmap.#of(range, words);
  }
}
