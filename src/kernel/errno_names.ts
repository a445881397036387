/**
 * Linux errno numbers, names and texts: those that a VFIO user can see.
 *
 * The numbers are the ones of asm-generic (x86-64, arm64, riscv).
 *
 * @module
 */

/** errno name to number, as in asm-generic/errno-base.h and errno.h. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EPIPE: 32,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ELOOP: 40,
  ENOMSG: 42,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EBADFD: 77,
  ENOTSOCK: 88,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  ENOTCONN: 107,
  ETOOMANYREFS: 109,
  ETIMEDOUT: 110,
  ECANCELED: 125,
} as const;

/** The name of an errno that this toolkit knows. */
export type ErrnoName = keyof typeof ERRNO;

const TEXTS: Readonly<Record<ErrnoName, string>> = {
  EPERM: "operation not permitted",
  ENOENT: "no such file or directory",
  ESRCH: "no such process",
  EINTR: "interrupted system call",
  EIO: "input/output error",
  ENXIO: "no such device or address",
  E2BIG: "argument list too long",
  EBADF: "bad file descriptor",
  EAGAIN: "resource temporarily unavailable",
  ENOMEM: "cannot allocate memory",
  EACCES: "permission denied",
  EFAULT: "bad address",
  EBUSY: "device or resource busy",
  EEXIST: "already exists",
  EXDEV: "cross-device link",
  ENODEV: "no such device",
  ENOTDIR: "not a directory",
  EISDIR: "is a directory",
  EINVAL: "invalid argument",
  ENFILE: "too many open files in the system",
  EMFILE: "too many open files",
  ENOTTY: "the kernel object does not know this request",
  ETXTBSY: "text file busy",
  EFBIG: "file too large",
  ENOSPC: "no space left",
  ESPIPE: "illegal seek",
  EROFS: "read-only file system",
  EPIPE: "broken pipe",
  ERANGE: "result out of range",
  ENAMETOOLONG: "file name too long",
  ENOSYS: "function not implemented",
  ELOOP: "too many levels of symbolic links",
  ENOMSG: "no message of the desired type",
  ENODATA: "no data available",
  EPROTO: "protocol error",
  EOVERFLOW: "value too large",
  EBADFD: "file descriptor in bad state",
  ENOTSOCK: "not a socket",
  EMSGSIZE: "message too long",
  EOPNOTSUPP: "operation not supported",
  EADDRINUSE: "address already in use",
  ENOTCONN: "not connected",
  ETOOMANYREFS: "too many file descriptors in flight",
  ETIMEDOUT: "timed out",
  ECANCELED: "operation cancelled",
};

const NAMES: ReadonlyMap<number, ErrnoName> = new Map(
  (Object.entries(ERRNO) as [ErrnoName, number][]).map(([name, number]) => [number, name]),
);

/**
 * The name of an errno number, such as `EBUSY` for 16, or `errno 200` if this
 * toolkit has no name for the number.
 *
 * @example
 * ```ts
 * import { errnoName } from "@vfiokit/vfiokit/kernel";
 * import assert from "node:assert/strict";
 *
 * assert.equal(errnoName(16), "EBUSY");
 * assert.equal(errnoName(200), "errno 200");
 * ```
 */
export function errnoName(errno: number): ErrnoName | `errno ${number}` {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** The meaning of an errno in words; the empty string if it is unknown. */
export function errnoText(errno: number): string {
  const name = NAMES.get(errno);
  return name === undefined ? "" : TEXTS[name];
}
