/**
 * Pipes that hold more at a time.
 *
 * @module
 */

import { libc, libcAllowed } from "./_libc.ts";

/** `fcntl` command: the size of a pipe (linux/fcntl.h). */
const F_SETPIPE_SZ = 1031;

/** What an ordinary user may ask for (/proc/sys/fs/pipe-max-size). */
const PIPE_BYTES = 1 << 20;

/**
 * Makes a pipe hold a MiB, where it holds 64 KiB by default: a sixteenth of
 * the calls, and of the switches from its writer to its reader. What is no
 * pipe, or must stay as it is, stays so; nothing depends on it.
 *
 * @example
 * ```ts
 * import { growPipe } from "./pipe.ts";
 *
 * growPipe(0);
 * ```
 */
export function growPipe(fd: number): void {
  if (libcAllowed()) libc().fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
}
