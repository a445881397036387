/**
 * Memory of the kernel's own that it writes dirty bits to.
 */

import {
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
} from "../../kernel/kernel.ts";
import { AnswerError } from "../../vfio/device/answer_error.ts";
import { DirtyBitmap } from "./bitmap.ts";
import { bitmapBytes, type BitmapRange, pagesOf } from "./bitmap_range.ts";

/** Bytes after a bitmap that must not be written to. */
const GUARD_BYTES = 64;
const GUARD: Uint8Array<ArrayBuffer> = new Uint8Array(GUARD_BYTES).map((_, i) => 0xa5 ^ i);
/** What the first word is before the kernel writes to it. */
const UNWRITTEN: Uint8Array<ArrayBuffer> = new Uint8Array(8).fill(0x5a);
const STEP_BYTES = 1 << 20;
const PAGE = 4096;

/** Memory for the kernel to write the bits of a range to. */
export interface BitmapTarget {
  /** The memory's address. */
  readonly data: bigint;
  /** Bytes that the bits take. */
  readonly bytes: number;
}

/** Memory for one bitmap at a time; it grows to the largest that was wanted. */
export class CheckedBitmap implements Disposable {
  readonly #kernel: Kernel;
  #memory: Mapping | null = null;
  #bytes = 0;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /**
   * Makes room for the bits of a range. They are zero, as the kernel leaves alone
   * what is not mapped; but for the first word, by which that shows. The kernel
   * writes all of it if a mapping begins with the range.
   */
  prepare(range: BitmapRange): BitmapTarget {
    const target = this.prepareZero(range);
    this.#memory!.write(0, UNWRITTEN);
    return target;
  }

  /** Makes room for the bits of a range, all of them zero: for a kernel that only sets bits. */
  prepareZero(range: BitmapRange): BitmapTarget {
    const bytes = bitmapBytes(pagesOf(range));
    const memory = this.#room(bytes + GUARD_BYTES);
    const step = new Uint8Array(Math.min(bytes, STEP_BYTES));
    for (let offset = 0; offset < bytes; offset += step.length) {
      memory.write(offset, step.subarray(0, bytes - offset));
    }
    memory.write(bytes, GUARD);
    this.#bytes = bytes;
    return { data: memory.address, bytes };
  }

  #room(bytes: number): Mapping {
    if (this.#memory !== null && this.#memory.length >= bytes) return this.#memory;
    this.close();
    return this.#memory = this.#kernel.mmap(Math.ceil(bytes / PAGE) * PAGE, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
  }

  /**
   * The bits that are there now, as a bitmap in separate memory; those
   * behind the last page are left out.
   *
   * @throws {AnswerError} If something was written behind the bits.
   */
  take(range: BitmapRange): DirtyBitmap {
    const memory = this.#memory!;
    const guard = new Uint8Array(GUARD_BYTES);
    memory.read(this.#bytes, guard);
    if (guard.some((byte, i) => byte !== GUARD[i])) {
      throw new AnswerError(
        `Cannot trust the dirty bitmap: the kernel wrote behind its ${this.#bytes} bytes`,
        "dirty bitmap",
      );
    }
    return DirtyBitmap.over(range, memory).copy();
  }

  /** Whether the kernel wrote bits: it does if a mapping begins with the range. */
  get written(): boolean {
    const word = new Uint8Array(UNWRITTEN.length);
    this.#memory!.read(0, word);
    return word.some((byte, i) => byte !== UNWRITTEN[i]);
  }

  /** Gives the memory back. */
  close(): void {
    this.#memory?.close();
    this.#memory = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
