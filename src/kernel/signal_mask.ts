/**
 * Keeping signals off a thread.
 *
 * @module
 */

import { SysError } from "./error.ts";
import { libc } from "./_libc.ts";

/** sigprocmask's `how`: these as well (asm-generic/signal-defs.h). */
const SIG_BLOCK = 0;

/** Bytes of a sigset_t, in glibc and musl. */
const SIGSET_BYTES = 128;

/**
 * The signals that a process is sent from outside, by number: SIGHUP, SIGINT, SIGQUIT, SIGALRM,
 * SIGTERM, SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, SIGIO.
 *
 * Not those that a thread's own mistakes raise, nor those that a runtime may send to its threads: to
 * stop them for a moment (SIGPWR in Bun; SIGUSR1 and SIGUSR2 in others of their kind), or to
 * profile them (SIGPROF).
 */
const FROM_OUTSIDE: readonly number[] = [1, 2, 3, 14, 15, 17, 18, 20, 21, 22, 23, 28, 29];

/**
 * Blocks, on the calling thread alone, the signals that a process is sent from outside: a system
 * call that this thread waits in is not interrupted by them. Another thread gets them, and what
 * the process does about them stays as it is.
 *
 * Meant for a Worker. Where the main thread blocks them, too, nobody gets them.
 *
 * @throws {SysError} If the kernel refuses, which Linux has no reason to.
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
  // On Linux this is the calling thread's mask, as pthread_sigmask's is, which older glibcs keep
  // in another library.
  const result = libc().sigprocmask(SIG_BLOCK, set, new Uint8Array(new ArrayBuffer(SIGSET_BYTES)));
  if (result < 0) throw new SysError("sigprocmask", -result);
}
