/**
 * The memory that this process mapped through a kernel: what an address in a struct may point to,
 * and what can be lent to a device.
 */

import type { Mapping } from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { refuse } from "../../sim/os/refusal.ts";

/** The file behind a mapping. */
export interface MemoryFile {
  /** An fd that the mapping owns. */
  readonly fd: number;
  /** Where in it the mapping begins, in bytes. */
  readonly offset: bigint;
}

/** A range of own memory. */
export interface MemoryRange {
  /** The mapping that it is in. */
  readonly mapping: Mapping;
  /** Where in it the range begins, in bytes. */
  readonly offset: number;
  /** The shared file behind the mapping; null if there is none. */
  readonly file: MemoryFile | null;
}

interface Known {
  readonly mapping: Mapping;
  readonly file: MemoryFile | null;
}

/** The mappings. */
export class OwnMemory {
  readonly #known = new Map<bigint, Known>();

  /** Adds a mapping; it is known until it is closed, and then closes the file's fd. */
  add(mapping: Mapping, file: MemoryFile | null): Mapping {
    this.#known.set(mapping.address, { mapping, file });
    return new KnownMapping(mapping, () => {
      this.#known.delete(mapping.address);
      if (file !== null) libcKernel().close(file.fd);
    });
  }

  /** The memory at an address; null if not all of it is in one mapping. */
  find(address: bigint, length: bigint): MemoryRange | null {
    for (const { mapping, file } of this.#known.values()) {
      const offset = address - mapping.address;
      if (offset < 0n || offset + length > BigInt(mapping.length)) continue;
      return { mapping, offset: Number(offset), file };
    }
    return null;
  }

  #range(address: bigint, length: number): MemoryRange {
    return this.find(address, BigInt(length)) ?? refuse("EFAULT");
  }

  /** Copies memory out. */
  load(address: bigint, into: Uint8Array): void {
    const { mapping, offset } = this.#range(address, into.length);
    mapping.read(offset, into);
  }

  /** Copies into memory. */
  store(address: bigint, from: Uint8Array): void {
    const { mapping, offset } = this.#range(address, from.length);
    mapping.write(offset, from);
  }
}

/** A mapping that reports when it is closed. */
class KnownMapping implements Mapping {
  readonly #mapping: Mapping;
  readonly #closed: () => void;
  #open = true;

  constructor(mapping: Mapping, closed: () => void) {
    this.#mapping = mapping;
    this.#closed = closed;
  }

  get address(): bigint {
    return this.#mapping.address;
  }

  get length(): number {
    return this.#mapping.length;
  }

  read(offset: number, into: Uint8Array): void {
    this.#mapping.read(offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    this.#mapping.write(offset, from);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#closed();
    this.#mapping.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
