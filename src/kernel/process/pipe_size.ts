/**
 * The capacity of a pipe.
 */

import { libc } from "../libc/calls_with_errno.ts";

/** fcntl(2): sets the capacity of a pipe (linux/fcntl.h). */
const F_SETPIPE_SZ = 1031;

/**
 * Sets the capacity of a pipe to `bytes`, so that its two ends wake each other
 * less often. An unprivileged process may ask for up to 1 MiB by default
 * (/proc/sys/fs/pipe-max-size).
 *
 * @returns Whether the pipe has this capacity now. False if the fd is not a pipe, if the kernel
 * refuses, or if the pipe already holds more than `bytes` bytes.
 */
export function setPipeSize(fd: number, bytes: number): boolean {
  return libc().fcntl(fd, F_SETPIPE_SZ, bytes) >= bytes;
}
