/**
 * Opens a userfaultfd.
 *
 * @module
 */

import process from "node:process";
import { UFFD_USER_MODE_ONLY } from "../../uapi/mod.ts";
import { libc } from "../libc/calls_with_errno.ts";
import { O_CLOEXEC } from "../kernel.ts";
import { SysError } from "../sys_error.ts";

/** The number of the call on x86-64, and on all architectures that came later. */
const SYS_USERFAULTFD = process.arch === "x64" ? 323 : 282;

/**
 * userfaultfd(2), for faults of user mode only: that needs no privilege, and write-protection of
 * which nobody is told is for all writes nevertheless.
 *
 * @returns The fd, which is close-on-exec.
 * @throws {SysError} ENOSYS if the kernel is built without it; EPERM if a sandbox forbids it.
 */
export function userfaultfd(): number {
  const fd = libc().syscall(SYS_USERFAULTFD, O_CLOEXEC | UFFD_USER_MODE_ONLY, 0, 0);
  if (fd < 0) throw new SysError("userfaultfd", -fd);
  return fd;
}
