/**
 * Seals of memory files (memfd_create(2)): what no holder of an fd can do to a file any more.
 *
 * @module
 */

import { SysError } from "../sys_error.ts";
import { libc } from "./calls_with_errno.ts";

const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
const F_SEAL_SEAL = 0x1;
const F_SEAL_SHRINK = 0x2;
const F_SEAL_GROW = 0x4;

/** `memfd` flag: the file can be sealed (linux/memfd.h). */
export const MFD_ALLOW_SEALING = 2;

/**
 * Keeps the size of a memory file as it is, for good. Memory that is mapped from a file which
 * another process can shorten is a trap: touching what is gone ends this process (SIGBUS).
 *
 * @throws {SysError} EPERM if the file was made without {@linkcode MFD_ALLOW_SEALING}.
 *
 * @example
 * ```ts
 * import { libcKernel } from "vfiokit/kernel";
 * import { isSizeSealed, MFD_ALLOW_SEALING, sealSize } from "./seals.ts";
 * import assert from "node:assert/strict";
 *
 * const kernel = libcKernel();
 * const fd = kernel.memfd("example", 4096, MFD_ALLOW_SEALING);
 * assert.equal(isSizeSealed(fd), false);
 * sealSize(fd);
 * assert.equal(isSizeSealed(fd), true);
 * kernel.close(fd);
 * ```
 */
export function sealSize(fd: number): void {
  const result = libc().fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW);
  if (result < 0) throw new SysError("fcntl F_ADD_SEALS", -result, `fd ${fd}`);
}

/** Whether a file can never become shorter; false for what is no memory file. */
export function isSizeSealed(fd: number): boolean {
  const seals = libc().fcntl(fd, F_GET_SEALS, 0);
  return seals >= 0 && (seals & F_SEAL_SHRINK) !== 0;
}
