/**
 * Memory that a device under check can write to.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from "../uapi/mod.ts";
import type { AddressSpace } from "../vfio/dma/address_space.ts";
import { DmaMemory } from "../vfio/dma/dma_memory.ts";
import type { CheckContext } from "./context.ts";

/** Bytes of the memory. */
export const WINDOW_BYTES: number = 1024 * 1024;

/** Where the memory is tried to be mapped: below 4 GiB, apart from what firmware keeps. */
const IOVAS: readonly bigint[] = [0x4000_0000n, 0x1000_0000n, 0x1_0000_0000n, 0n];

/** Zeroed memory, mapped for the device's DMA. */
export class DmaWindow implements Disposable {
  /** Its first IOVA. */
  readonly iova: bigint;
  /** The memory. */
  readonly memory: DmaMemory;
  readonly #space: AddressSpace;
  readonly #context: CheckContext;

  private constructor(context: CheckContext, space: AddressSpace, memory: DmaMemory, iova: bigint) {
    this.#context = context;
    this.#space = space;
    this.memory = memory;
    this.iova = iova;
  }

  /**
   * Maps the memory.
   *
   * @throws {Finding} `unclear` if it cannot be mapped.
   */
  static map(context: CheckContext): DmaWindow {
    const { space } = context.device;
    if (space === null) return context.skip("the device's address space is not known");
    const memory = DmaMemory.allocate(context.kernel, WINDOW_BYTES);
    let why = "";
    for (const iova of IOVAS) {
      try {
        const flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
        space.map({ iova, size: BigInt(WINDOW_BYTES), vaddr: memory.address, flags });
        context.step(`map ${WINDOW_BYTES} bytes at IOVA 0x${iova.toString(16)}`);
        return new DmaWindow(context, space, memory, iova);
      } catch (error) {
        why = (error as Error).message;
      }
    }
    memory.close();
    return context.unclear(`no memory can be mapped for the device: ${why}`);
  }

  /** The CRC-32 of each page. */
  pages(): number[] {
    const bytes = new Uint8Array(WINDOW_BYTES);
    this.memory.mapping.read(0, bytes);
    return Array.from(
      { length: WINDOW_BYTES / 4096 },
      (_, page) => crc32(bytes.subarray(page * 4096, (page + 1) * 4096)),
    );
  }

  /** Whether memory changes within a time; it looks again and again, for a change may come late. */
  changes(milliseconds: number): boolean {
    const before = this.pages();
    for (let waited = 0; waited < milliseconds; waited += 100) {
      this.#context.pause(100);
      // A simulated device does its DMA when it is called.
      this.#space.info();
      if (this.pages().some((crc, page) => crc !== before[page])) return true;
    }
    return false;
  }

  /** Unmaps the memory. */
  close(): void {
    try {
      this.#space.unmap(this.iova, BigInt(WINDOW_BYTES));
    } finally {
      this.memory.close();
    }
  }

  /** Unmaps it, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
