/**
 * Write-protection of this process's own memory, by which its writes are found.
 *
 * @module
 */

import { cleanedUp, cleanlyThen } from "../../base/cleanup.ts";
import { type Kernel, O_RDONLY } from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { userfaultfd } from "../../kernel/process/userfaultfd.ts";
import { isErrno } from "../../kernel/sys_error.ts";
import {
  UFFD_API,
  UFFD_FEATURE_WP_ASYNC,
  UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
  UFFD_FEATURE_WP_UNPOPULATED,
  UFFDIO_API,
  UFFDIO_REGISTER,
  UFFDIO_REGISTER_MODE_WP,
  uffdioApi,
  uffdioRegister,
} from "../../uapi/mod.ts";
import { formatIova } from "../../vfio/dma/iova.ts";
import { UnsupportedError } from "../../vfio/reasons/unsupported_error.ts";
import type { ProtectedMemory, ProtectedRange } from "./written_pages.ts";
import { WriteProtectionError } from "./write_protection_error.ts";

const FEATURES = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
  UFFD_FEATURE_WP_HUGETLBFS_SHMEM;

/**
 * Write-protects memory of this process, so that what it writes there is found (userfaultfd with
 * UFFD_FEATURE_WP_ASYNC, Linux 6.7): `protectedMemory` of an `Owner` returns it. A write to a
 * protected page costs one fault more, and waits for nobody.
 *
 * Found is what is written through these mappings, by the program and by system calls such as
 * read(2). Not found is what is written through other mappings or the file, by other
 * processes, or into pages that the kernel holds on to (io_uring's registered buffers, O_DIRECT).
 *
 * @example
 * ```ts
 * import { WriteProtection } from "vfiokit/dirty";
 * import { UnsupportedError } from "vfiokit";
 * import { libcKernel, MAP_SHARED, PROT_READ, PROT_WRITE } from "vfiokit/kernel";
 *
 * const kernel = libcKernel();
 * const fd = kernel.memfd("memory", 1 << 20);
 * using memory = kernel.mmap(1 << 20, { fd, prot: PROT_READ | PROT_WRITE, flags: MAP_SHARED });
 * try {
 *   using protection = WriteProtection.begin([
 *     { iova: 0x100000n, size: 1n << 20n, address: memory.address },
 *   ]);
 *   const owner = {
 *     quiesce: async () => {}, // stops this program's own writes
 *     resume: async () => {},
 *     protectedMemory: () => protection,
 *   };
 *   // await migrate([device], connection, { journal, owner, ownerWrites: "protect" });
 * } catch (error) {
 *   if (!(error instanceof UnsupportedError)) throw error; // older than Linux 6.7
 * }
 * kernel.close(fd);
 * ```
 */
export class WriteProtection implements ProtectedMemory, Disposable {
  /** An fd of this process's /proc/self/pagemap. */
  readonly pagemap: number;
  /** The ranges. */
  readonly ranges: readonly ProtectedRange[];
  readonly #kernel: Kernel;
  readonly #userfaultfd: number;
  #closed = false;

  private constructor(kernel: Kernel, uffd: number, ranges: readonly ProtectedRange[]) {
    this.#kernel = kernel;
    this.#userfaultfd = uffd;
    this.ranges = ranges;
    this.pagemap = kernel.open("/proc/self/pagemap", O_RDONLY);
  }

  /**
   * Registers memory of this process. It stays registered until this is closed.
   *
   * @param ranges Memory of a device, and where it is mapped here, in whole pages.
   * @throws {UnsupportedError} If the kernel cannot (Linux 6.7), or a sandbox forbids it.
   * @throws {WriteProtectionError} If there is no such memory, or another userfaultfd has it.
   */
  static begin(ranges: readonly ProtectedRange[]): WriteProtection {
    const kernel = libcKernel();
    const uffd = openUserfaultfd(kernel);
    try {
      for (const range of ranges) register(kernel, uffd, range);
      return new WriteProtection(kernel, uffd, ranges);
    } catch (error) {
      throw cleanedUp(error, () => kernel.close(uffd));
    }
  }

  /** Ends the protection. Closing again does nothing. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    cleanlyThen(
      () => this.#kernel.close(this.pagemap),
      () => this.#kernel.close(this.#userfaultfd),
    );
  }
}

function openUserfaultfd(kernel: Kernel): number {
  let uffd: number;
  try {
    uffd = userfaultfd();
  } catch (error) {
    if (!isErrno(error, "ENOSYS", "EPERM", "EINVAL")) throw error;
    throw unsupported(`no userfaultfd can be had: ${error.code}`, error);
  }
  try {
    const features = BigInt(FEATURES);
    kernel.ioctl(uffd, UFFDIO_API, uffdioApi.pack({ api: BigInt(UFFD_API), features }));
    return uffd;
  } catch (error) {
    const refused = isErrno(error, "EINVAL")
      ? unsupported("userfaultfd does not have UFFD_FEATURE_WP_ASYNC", error)
      : error;
    throw cleanedUp(refused, () => kernel.close(uffd));
  }
}

function register(kernel: Kernel, uffd: number, range: ProtectedRange): void {
  const memory = { start: range.address, len: range.size };
  const mode = BigInt(UFFDIO_REGISTER_MODE_WP);
  try {
    kernel.ioctl(uffd, UFFDIO_REGISTER, uffdioRegister.pack({ range: memory, mode }));
  } catch (error) {
    const why = isErrno(error, "EBUSY")
      ? "another userfaultfd has it"
      : isErrno(error, "EINVAL", "ENOMEM")
      ? "it is not mapped, or not in whole pages"
      : null;
    if (why === null) throw error;
    const where = `0x${range.address.toString(16)}`;
    throw new WriteProtectionError(
      `Cannot protect ${formatIova(range)}, mapped at ${where}: ${why}`,
      "",
      { cause: error },
    );
  }
}

function unsupported(why: string, cause: unknown): UnsupportedError {
  return new UnsupportedError([{
    code: "unsupported",
    message: `The kernel cannot write-protect memory: ${why}`,
    hint: "Run Linux 6.7 or later with CONFIG_USERFAULTFD, outside of sandboxes that forbid it",
    blocks: true,
  }], { cause });
}
