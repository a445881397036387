/**
 * How much a pipe holds.
 */

import { libc } from "./_libc.ts";

/** fcntl(2): sets how much a pipe holds (linux/fcntl.h). */
const F_SETPIPE_SZ = 1031;

/**
 * Lets a pipe hold so many bytes, so that its two ends wake each other less
 * often. Whoever may not raise a limit may ask for up to a MiB
 * (/proc/sys/fs/pipe-max-size).
 *
 * @returns Whether it does: not where the fd is no pipe, the kernel refuses, or more than that many
 * bytes are in it.
 */
export function setPipeSize(fd: number, bytes: number): boolean {
  return libc().fcntl(fd, F_SETPIPE_SZ, bytes) >= bytes;
}
