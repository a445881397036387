/**
 * Takes a duplicate of another process's fd.
 *
 * @module
 */

import { libc } from "../libc/calls_with_errno.ts";
import { SysError } from "../sys_error.ts";

/** The numbers of the calls, the same on every architecture (asm-generic/unistd.h). */
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

/**
 * Duplicates an fd of another process into this one: pidfd_open(2), pidfd_getfd(2). Both fds are
 * one open file: what is done to it here, the other process sees, and the file stays open until
 * both are closed.
 *
 * @returns The number of the fd here, which is close-on-exec.
 * @throws {SysError} ESRCH if there is no such process; EBADF if it has no such fd; EPERM if this
 * process may not trace it (ptrace(2)); ENOSYS before Linux 5.6.
 */
export function fdOfProcess(pid: number, fd: number): number {
  const process = libc().syscall(SYS_PIDFD_OPEN, pid, 0, 0);
  if (process < 0) throw new SysError("pidfd_open", -process, `process ${pid}`);
  const result = libc().syscall(SYS_PIDFD_GETFD, process, fd, 0);
  libc().close(process);
  if (result < 0) throw new SysError("pidfd_getfd", -result, `fd ${fd} of process ${pid}`);
  return result;
}
