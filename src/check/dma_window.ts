/**
 * Memory that a device under check can write to.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from "../uapi/mod.ts";
import type { AddressSpace } from "../vfio/dma/address_space.ts";
import { DmaMemory } from "../vfio/dma/dma_memory.ts";
import type { CheckContext } from "./context.ts";

/** Bytes of the memory. */
export const WINDOW_BYTES: number = 1024 * 1024;

const PAGE = 4096;

/** Where the memory is tried to be mapped: below 4 GiB, apart from what firmware keeps. */
const IOVAS: readonly bigint[] = [0x4000_0000n, 0x1000_0000n, 0x1_0000_0000n, 0n];

/** Kernels whose simulated device was seen to write nothing: it never will. */
const QUIET = new WeakSet<Kernel>();

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

  /** Fills the memory with zeros, so that a device which writes the same bytes again is seen. */
  clear(): void {
    this.memory.mapping.write(0, new Uint8Array(WINDOW_BYTES));
  }

  /** The pages that were written to since the memory was cleared, by their numbers. */
  written(): number[] {
    const bytes = new Uint8Array(WINDOW_BYTES);
    this.memory.mapping.read(0, bytes);
    return Array.from({ length: WINDOW_BYTES / PAGE }, (_, page) => page)
      .filter((page) => bytes.subarray(page * PAGE, (page + 1) * PAGE).some((byte) => byte !== 0));
  }

  /**
   * Goes on if the device writes to the memory by itself.
   *
   * @throws {Finding} `skip` if it does not within a time.
   */
  demandWrites(milliseconds: number): void {
    const { kernel } = this.#context;
    if (!QUIET.has(kernel) && this.changes(milliseconds)) return;
    if (kernel.name === "sim") QUIET.add(kernel);
    this.#context.skip("the device writes to no memory by itself");
  }

  /** Clears the memory, and tells whether the device writes to it within a time. */
  changes(milliseconds: number): boolean {
    this.clear();
    for (let waited = 0; waited < milliseconds; waited += 100) {
      this.#context.pause(100);
      // A simulated device does its DMA when it is called.
      this.#space.info();
      if (this.written().length > 0) return true;
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
