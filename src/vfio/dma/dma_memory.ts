/**
 * Memory for a device's DMA.
 *
 * @module
 */

import { isErrno } from "../../kernel/error.ts";
import { Fd } from "../../kernel/fd.ts";
import {
  type Kernel,
  MAP_ANONYMOUS,
  MAP_HUGETLB,
  MAP_PRIVATE,
  MAP_SHARED,
  type Mapping,
  MFD_HUGETLB,
  PROT_READ,
  PROT_WRITE,
} from "../../kernel/kernel.ts";
import { DmaError } from "./dma_error.ts";

/** What kind of memory. */
export interface DmaMemoryOptions {
  /**
   * `memfd` (the default): it has an fd, by which another process can map it
   * too. `anonymous`: it has none.
   */
  readonly kind?: "memfd" | "anonymous" | undefined;
  /** Of huge pages: fewer entries in the IOMMU, and the system must have some to spare. */
  readonly hugepages?: boolean | undefined;
}

/**
 * Memory of the kernel's own, all zero, that may be mapped for DMA: its address
 * does not change, and it is there until it is closed. Unmap it from the IOMMU
 * before.
 *
 * @example
 * ```ts
 * import { libcKernel } from "../../kernel/libc.ts";
 * import { DmaMemory } from "./dma_memory.ts";
 * import assert from "node:assert/strict";
 *
 * using memory = DmaMemory.allocate(libcKernel(), 1 << 20);
 * assert.equal(memory.address % 4096n, 0n);
 * assert.notEqual(memory.fd, null);
 * ```
 */
export class DmaMemory implements Disposable {
  /** The memory in this process. */
  readonly mapping: Mapping;
  /** By which other processes can map it; null for anonymous memory. */
  readonly fd: Fd | null;

  private constructor({ mapping, fd }: Parts) {
    this.mapping = mapping;
    this.fd = fd;
  }

  /**
   * Allocates memory.
   *
   * @param size Bytes, a multiple of the page size (of that of huge pages, for those).
   * @throws {RangeError} If the size is no such number.
   * @throws {DmaError} If there is not so much: ENOMEM.
   * @throws {SysError} If it fails for another reason.
   */
  static allocate(kernel: Kernel, size: number, options: DmaMemoryOptions = {}): DmaMemory {
    const { kind = "memfd", hugepages = false } = options;
    const page = hugepages ? hugepageSize(kernel) : 4096;
    if (!Number.isSafeInteger(size) || size <= 0 || size % page !== 0) {
      throw new RangeError(
        `Cannot allocate ${size} bytes for DMA: they are not in whole pages of ${page} bytes`,
      );
    }
    try {
      const make = kind === "memfd" ? shared : own;
      return new DmaMemory(make(kernel, size, hugepages));
    } catch (error) {
      if (!isErrno(error, "ENOMEM")) throw error;
      const what = `Cannot allocate ${size} bytes for DMA`;
      throw hugepages
        ? new DmaError(
          what,
          `there are not ${size / page} huge pages of ${page} bytes to spare`,
          `As root: echo ${size / page} > /proc/sys/vm/nr_hugepages`,
          error,
        )
        : new DmaError(what, "the system does not have so much memory", "", error);
    }
  }

  /** Its address in this process. */
  get address(): bigint {
    return this.mapping.address;
  }

  /** Bytes. */
  get size(): number {
    return this.mapping.length;
  }

  /** Gives it back. Closing again does nothing. */
  close(): void {
    this.mapping.close();
    this.fd?.close();
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

interface Parts {
  readonly mapping: Mapping;
  readonly fd: Fd | null;
}

const PROT = PROT_READ | PROT_WRITE;

function own(kernel: Kernel, size: number, hugepages: boolean): Parts {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | (hugepages ? MAP_HUGETLB : 0);
  return { mapping: kernel.mmap(size, { prot: PROT, flags }), fd: null };
}

function shared(kernel: Kernel, size: number, hugepages: boolean): Parts {
  const number = kernel.memfd("vfiokit-dma", size, hugepages ? MFD_HUGETLB : 0);
  const fd = Fd.own(kernel, number, "DMA memory");
  try {
    return { mapping: kernel.mmap(size, { fd: number, prot: PROT, flags: MAP_SHARED }), fd };
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** Bytes of a huge page, as /proc/meminfo has it. */
function hugepageSize(kernel: Kernel): number {
  let text = "";
  try {
    text = kernel.readText("/proc/meminfo");
  } catch {
    // Then it is what most have.
  }
  const match = /^Hugepagesize:\s+(\d+) kB/m.exec(text);
  return match === null ? 2 * 1024 * 1024 : Number(match[1]) * 1024;
}
