/**
 * Blocks signals on a thread.
 *
 * @module
 */

import { SysError } from "../sys_error.ts";
import { libc } from "../libc/calls_with_errno.ts";

/** sigprocmask's `how`: block these signals in addition (asm-generic/signal-defs.h). */
const SIG_BLOCK = 0;

/** Size of a sigset_t in bytes, in glibc and musl. */
const SIGSET_BYTES = 128;

/**
 * The signals that a process receives from outside, by number: SIGHUP, SIGINT, SIGQUIT, SIGALRM,
 * SIGTERM, SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, SIGIO.
 *
 * The list leaves out the signals that a thread's own faults raise, and those that a runtime may
 * send to its threads: to suspend them for a moment (SIGPWR in Bun; SIGUSR1 and SIGUSR2 in similar
 * runtimes), or to profile them (SIGPROF).
 */
const FROM_OUTSIDE: readonly number[] = [1, 2, 3, 14, 15, 17, 18, 20, 21, 22, 23, 28, 29];

/**
 * Blocks the signals that a process receives from outside, on the calling thread only. They no
 * longer interrupt a system call that this thread waits in. Another thread receives them, and the
 * process handles them as before.
 *
 * Meant for a Worker. If the main thread blocks them too, no thread receives them.
 *
 * @throws {SysError} If the kernel refuses; Linux has no reason to.
 *
 * @example
 * ```ts ignore
 * // In a Worker, before it makes system calls that may wait.
 * blockSignals();
 * ```
 */
export function blockSignals(): void {
  const set = new Uint8Array(new ArrayBuffer(SIGSET_BYTES));
  for (const signal of FROM_OUTSIDE) set[(signal - 1) >> 3]! |= 1 << ((signal - 1) & 7);
  // On Linux this sets the calling thread's mask, as pthread_sigmask does. Older versions of glibc
  // have pthread_sigmask in another library.
  const result = libc().sigprocmask(SIG_BLOCK, set, new Uint8Array(new ArrayBuffer(SIGSET_BYTES)));
  if (result < 0) throw new SysError("sigprocmask", -result);
}
