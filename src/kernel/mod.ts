/**
 * The kernel as this library calls it. {@linkcode Kernel} is the seam: everything above it makes
 * its system calls through this one interface, and cannot tell which kernel answers.
 * {@linkcode libcKernel} is the real one, reached through libc; the simulated one is
 * `SimKernel` in `vfiokit/sim`. A kernel of one's own can wrap either, to count calls or
 * to make them fail.
 *
 * A call that fails throws a {@linkcode SysError} with the call, the object and the errno.
 * {@linkcode Fd} is an open file that closes itself by `using`.
 *
 * @example
 * ```ts
 * import { Fd, isErrno, libcKernel, O_RDONLY } from "vfiokit/kernel";
 * import assert from "node:assert/strict";
 *
 * const kernel = libcKernel();
 * using zeros = Fd.own(kernel, kernel.open("/dev/zero", O_RDONLY), "/dev/zero");
 * const bytes = new Uint8Array(8).fill(1);
 * assert.equal(kernel.read(zeros.number, bytes), 8);
 * assert.ok(bytes.every((byte) => byte === 0));
 * assert.throws(
 *   () => kernel.open("/dev/vfio/none", O_RDONLY),
 *   (error: unknown) => isErrno(error, "ENOENT"),
 * );
 * ```
 *
 * @module
 */

export { ERRNO, type ErrnoName, errnoName, errnoText } from "./errno_names.ts";
export { ClosedError, Fd, openFds } from "./fd.ts";
export {
  FIONBIO,
  type Kernel,
  MAP_ANONYMOUS,
  MAP_HUGETLB,
  MAP_PRIVATE,
  MAP_SHARED,
  type Mapping,
  MFD_CLOEXEC,
  MFD_HUGETLB,
  type MmapOptions,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  PROT_READ,
  PROT_WRITE,
  type ReceivedMessage,
} from "./kernel.ts";
export { libcKernel } from "./libc/libc_kernel.ts";
export { isErrno, SysError } from "./sys_error.ts";
