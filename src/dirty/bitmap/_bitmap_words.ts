/** Operations on bitmaps in memory of our own, in words of 32 bits. */

import type { BitmapMemory } from "./bitmap_memory.ts";
import { bitmapBytes, type BitmapRange, pagesOf } from "./bitmap_range.ts";

type Words = Uint32Array<ArrayBuffer>;

/** Sets the bits from `from` up to `to`, which may be 2^31. */
export function setBits(words: Words, from: number, to: number): void {
  if (from >= to) return;
  const first = from >>> 5;
  const last = (to - 1) >>> 5;
  const head = 0xffff_ffff << (from & 31);
  const tail = 0xffff_ffff >>> (31 - ((to - 1) & 31));
  if (first === last) {
    words[first]! |= head & tail;
    return;
  }
  words[first]! |= head;
  words.fill(0xffff_ffff, first + 1, last);
  words[last]! |= tail;
}

/** Clears the bits from `from` to the end. */
export function clearFrom(words: Words, from: number): void {
  const first = Math.floor(from / 32);
  if (first >= words.length) return;
  words[first]! &= ~(0xffff_ffff << (from & 31));
  words.fill(0, first + 1);
}

/** `into |= from`, from word `at` of `into` on. */
export function orWords(into: Words, at: number, from: Words, count: number): void {
  for (let index = 0; index < count; index++) into[at + index]! |= from[index]!;
}

/** `into &= ~from`, from word `at` of `into` on. */
export function andNotWords(into: Words, at: number, from: Words, count: number): void {
  for (let index = 0; index < count; index++) into[at + index]! &= ~from[index]!;
}

/** Moves all bits `shift` (1 to 31) places towards bit 0. */
export function shiftDown(words: Words, shift: number): void {
  const last = words.length - 1;
  for (let index = 0; index < last; index++) {
    words[index] = (words[index]! >>> shift) | (words[index + 1]! << (32 - shift));
  }
  words[last]! >>>= shift;
}

/** The pages of a bitmap from `first` up to `end`, at bit 0 on, in whole words of 64 bits. */
export function wordsOf(
  memory: BitmapMemory,
  first: number,
  end: number,
): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(bitmapBytes(end - first) / 4);
  const shift = first % 8;
  const from = Math.floor(first / 8);
  const bytes = Math.ceil(end / 8) - from;
  // Shifting may need one byte more than the result has.
  const source = bytes > words.length * 4 ? new Uint32Array(words.length + 1) : words;
  memory.read(from, new Uint8Array(source.buffer, 0, bytes));
  if (shift !== 0) shiftDown(source, shift);
  if (source !== words) words.set(source.subarray(0, words.length));
  clearFrom(words, end - first);
  return words;
}

/** A bitmap whose runs can be had. */
interface Runs extends BitmapRange {
  forEachRun(callback: (page: number, pages: number) => void): void;
}

/** A bitmap's range in pages of another size, grown at both ends to whole ones, and its words. */
export function inPages(
  bitmap: Runs,
  pgsize: number,
): { readonly range: BitmapRange; readonly words: Uint32Array<ArrayBuffer> } {
  pagesOf({ iova: 0n, size: 0n, pgsize });
  const page = BigInt(pgsize);
  const iova = bitmap.iova - bitmap.iova % page;
  const size = (bitmap.iova + bitmap.size - iova + page - 1n) / page * page;
  const range = { iova, size, pgsize };
  const words = new Uint32Array(bitmapBytes(pagesOf(range)) / 4);
  if (pgsize > bitmap.pgsize) {
    const ratio = pgsize / bitmap.pgsize;
    const lead = Number((bitmap.iova - iova) / BigInt(bitmap.pgsize));
    bitmap.forEachRun((first, pages) => {
      const start = lead + first;
      setBits(words, Math.floor(start / ratio), Math.ceil((start + pages) / ratio));
    });
  } else {
    const ratio = bitmap.pgsize / pgsize;
    bitmap.forEachRun((first, pages) => setBits(words, first * ratio, (first + pages) * ratio));
  }
  return { range, words };
}
