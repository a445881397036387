/**
 * Where the bits of a bitmap are: in a JS buffer, or in memory that the kernel
 * mapped, which can only be copied out of.
 */

import { Buffer } from "node:buffer";
import type { Mapping } from "../../kernel/kernel.ts";

/** Bytes handled at once by what goes through a whole bitmap. */
export const STEP_BYTES = 65536;

const ZEROS: Uint8Array = new Uint8Array(STEP_BYTES);

/** The bytes of a bitmap. */
export interface BitmapMemory {
  /** How many. */
  readonly length: number;
  /** Copies `into.length` bytes out, from `offset` on. */
  read(offset: number, into: Uint8Array<ArrayBuffer>): void;
  /** Whether the first `length` bytes are all zero. */
  isZero(length: number): boolean;
}

/** The bits of a bitmap in JS memory. */
export class BufferMemory implements BitmapMemory {
  readonly length: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.length = bytes.length;
  }

  #part(offset: number, length: number): Uint8Array {
    // A buffer that went to another thread is empty by now; what is missing must
    // not count as clean.
    const { length: left } = this.#bytes;
    if (offset + length > left) {
      throw new RangeError(
        `Cannot read ${length} bytes at ${offset} of a bitmap: its buffer has ${left} left`,
      );
    }
    return this.#bytes.subarray(offset, offset + length);
  }

  read(offset: number, into: Uint8Array<ArrayBuffer>): void {
    into.set(this.#part(offset, into.length));
  }

  isZero(length: number): boolean {
    for (let offset = 0; offset < length; offset += STEP_BYTES) {
      const part = this.#part(offset, Math.min(STEP_BYTES, length - offset));
      if (!allZero(part)) return false;
    }
    return true;
  }
}

/** The bits of a bitmap that are in memory of the kernel's own. */
export class MappedMemory implements BitmapMemory {
  readonly length: number;
  readonly #mapping: Mapping;

  constructor(mapping: Mapping) {
    this.#mapping = mapping;
    this.length = mapping.length;
  }

  read(offset: number, into: Uint8Array<ArrayBuffer>): void {
    this.#mapping.read(offset, into);
  }

  isZero(length: number): boolean {
    const step = new Uint8Array(new ArrayBuffer(Math.min(STEP_BYTES, length)));
    for (let offset = 0; offset < length; offset += STEP_BYTES) {
      const part = step.subarray(0, length - offset);
      this.#mapping.read(offset, part);
      if (!allZero(part)) return false;
    }
    return true;
  }
}

/** memcmp, without FFI: several times the speed of a loop in JS. */
function allZero(part: Uint8Array): boolean {
  return Buffer.compare(part, ZEROS.subarray(0, part.length)) === 0;
}
