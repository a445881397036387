/**
 * The memory that a device's DMA reaches, by IOVA.
 *
 * @module
 */

import type { Mapping } from "../kernel/kernel.ts";
import { hasOnlyZeros } from "../kernel/mapping_zeros.ts";
import { formatIova, type IovaMapping } from "../vfio/dma/iova.ts";

/** A mapped range and the memory behind it. */
export interface MemoryPart extends IovaMapping {
  /** The memory in this process; null if only its address is known. */
  readonly memory: Mapping | null;
  /** Bytes from the start of the memory. */
  readonly offset: number;
}

/** Reads and writes the memory of mapped ranges as the CPU does, by IOVA. */
export class DeviceMemory {
  /** The ranges, by ascending iova. */
  readonly parts: readonly MemoryPart[];

  /** The parts must be sorted and must not overlap. */
  constructor(parts: readonly MemoryPart[]) {
    this.parts = parts;
  }

  /**
   * Copies `into.length` bytes from `iova` on.
   *
   * @throws {RangeError} If they are not inside one mapping, or its memory is known by its address
   * only.
   */
  read(iova: bigint, into: Uint8Array): void {
    const [memory, offset] = this.#find("read", iova, into.length);
    memory.read(offset, into);
  }

  /**
   * Copies `from` to `iova`. No tracker sees this: they track DMA only.
   *
   * @throws {RangeError} As {@linkcode DeviceMemory.read}.
   */
  write(iova: bigint, from: Uint8Array): void {
    const [memory, offset] = this.#find("write", iova, from.length);
    memory.write(offset, from);
  }

  /**
   * Whether there are but zeros in `length` bytes from `iova` on, which are a multiple of 64.
   *
   * @throws {RangeError} As {@linkcode DeviceMemory.read}.
   */
  isZero(iova: bigint, length: number): boolean {
    const [memory, offset] = this.#find("read", iova, length);
    return hasOnlyZeros(memory, offset, length);
  }

  #find(what: "read" | "write", iova: bigint, length: number): [memory: Mapping, offset: number] {
    const refuse = (why: string): never => {
      throw new RangeError(
        `Cannot ${what} ${length} bytes of memory at 0x${iova.toString(16)}: ${why}`,
      );
    };
    const part = this.parts.findLast((each) => each.iova <= iova);
    const end = part === undefined ? 0n : part.iova + part.size;
    if (part === undefined || iova >= end) return refuse("nothing is mapped there");
    if (iova + BigInt(length) > end) return refuse(`the mapping is ${formatIova(part)}`);
    if (part.memory === null) return refuse("only the memory's address is known");
    return [part.memory, part.offset + Number(iova - part.iova)];
  }
}
