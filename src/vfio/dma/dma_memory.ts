/**
 * Memory for a device's DMA.
 *
 * @module
 */

import { cleanedUp, cleanlyThen } from "../../base/cleanup.ts";
import { isErrno } from "../../kernel/sys_error.ts";
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
import { pageSize } from "../../kernel/process/page_size.ts";
import { DmaError } from "./dma_error.ts";

/** The kind of memory to allocate. */
export interface DmaMemoryOptions {
  /**
   * `memfd` (the default): the memory has an fd, so another process can map it too. `anonymous`:
   * it has no fd.
   */
  readonly kind?: "memfd" | "anonymous" | undefined;
  /** Use huge pages: fewer entries in the IOMMU, but the system must have enough of them free. */
  readonly hugepages?: boolean | undefined;
}

/**
 * Zeroed memory outside the JS heap, which can be mapped for DMA: its address does not change, and
 * it stays allocated until it is closed. Unmap it from the IOMMU before closing it.
 *
 * @example
 * ```ts
 * import { libcKernel } from "vfiokit/kernel";
 * import { DmaMemory } from "vfiokit/vfio";
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
  /** The fd by which other processes can map it; null for anonymous memory. */
  readonly fd: Fd | null;

  private constructor({ mapping, fd }: Allocation) {
    this.mapping = mapping;
    this.fd = fd;
  }

  /**
   * Allocates memory.
   *
   * @param size Bytes, a multiple of the page size (with `hugepages`, of the huge page size).
   * @throws {RangeError} If the size is not such a multiple, or too large for any process.
   * @throws {DmaError} ENOMEM if there is not enough memory.
   * @throws {SysError} If it fails for another reason.
   */
  static allocate(kernel: Kernel, size: number, options: DmaMemoryOptions = {}): DmaMemory {
    const { kind = "memfd", hugepages = false } = options;
    const page = hugepages ? hugepageSize(kernel) : pageSize(kernel);
    if (size > Number.MAX_SAFE_INTEGER) {
      throw new RangeError(
        `Cannot allocate ${size} bytes for DMA: no process has room for so many`,
      );
    }
    if (!Number.isSafeInteger(size) || size <= 0 || size % page !== 0) {
      throw new RangeError(
        `Cannot allocate ${size} bytes for DMA: it is not in whole pages of ${page} bytes`,
      );
    }
    try {
      const allocate = kind === "memfd" ? allocateMemfd : allocateAnonymous;
      return new DmaMemory(allocate(kernel, size, hugepages));
    } catch (error) {
      if (!isErrno(error, "ENOMEM")) throw error;
      const what = `Cannot allocate ${size} bytes for DMA`;
      throw hugepages
        ? new DmaError(
          what,
          `there are not ${size / page} huge pages of ${page} bytes to spare`,
          `As root: echo $(( $(cat ${NR_HUGEPAGES}) + ${size / page} )) > ${NR_HUGEPAGES}`,
          error,
        )
        : new DmaError(what, "the system does not have enough memory", "", error);
    }
  }

  /** Its address in this process. */
  get address(): bigint {
    return this.mapping.address;
  }

  /** Its size in bytes. */
  get size(): number {
    return this.mapping.length;
  }

  /** Frees the memory. Closing again does nothing. */
  close(): void {
    cleanlyThen(() => this.mapping.close(), () => this.fd?.close());
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

interface Allocation {
  readonly mapping: Mapping;
  readonly fd: Fd | null;
}

/** The number of huge pages that the kernel keeps, used or not. */
const NR_HUGEPAGES = "/proc/sys/vm/nr_hugepages";

const PROT = PROT_READ | PROT_WRITE;

function allocateAnonymous(kernel: Kernel, size: number, hugepages: boolean): Allocation {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | (hugepages ? MAP_HUGETLB : 0);
  return { mapping: kernel.mmap(size, { prot: PROT, flags }), fd: null };
}

function allocateMemfd(kernel: Kernel, size: number, hugepages: boolean): Allocation {
  const number = kernel.memfd("vfiokit-dma", size, hugepages ? MFD_HUGETLB : 0);
  const fd = Fd.own(kernel, number, "DMA memory");
  try {
    return { mapping: kernel.mmap(size, { fd: number, prot: PROT, flags: MAP_SHARED }), fd };
  } catch (error) {
    throw cleanedUp(error, () => fd.close());
  }
}

/** The size of a huge page in bytes, from /proc/meminfo. */
function hugepageSize(kernel: Kernel): number {
  let text = "";
  try {
    text = kernel.readText("/proc/meminfo");
  } catch {
    // Use the most common size.
  }
  const match = /^Hugepagesize:\s+(\d+) kB/m.exec(text);
  return match === null ? 2 * 1024 * 1024 : Number(match[1]) * 1024;
}
