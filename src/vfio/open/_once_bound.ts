/**
 * Waits after a driver was bound: sysfs shows the device before its node is in /dev, and before its
 * group has it.
 */

import { isErrno } from "../../kernel/sys_error.ts";
import { sleepSync } from "../../kernel/process/sleep_sync.ts";
import { isVfioBound, type SysfsDevice } from "../sysfs/sysfs.ts";

/** How long to retry, in milliseconds; delays of about 250 were measured. */
const PATIENCE_MS = 1000;

/** The pause between two attempts, in milliseconds. */
const PAUSE_MS = 20;

/**
 * Retries a call for up to a second while it fails with one of these errnos. If the device has no
 * VFIO driver, the call is made only once.
 */
export function onceBound<Value>(
  sysfs: SysfsDevice,
  codes: readonly string[],
  attempt: () => Value,
): Value {
  const until = performance.now() + (isVfioBound(sysfs) ? PATIENCE_MS : 0);
  for (;;) {
    try {
      return attempt();
    } catch (error) {
      // A group's own error has the kernel's as its cause.
      const kernels = error instanceof Error ? error.cause ?? error : error;
      if (!isErrno(kernels, ...codes) || performance.now() >= until) throw error;
      sleepSync(PAUSE_MS);
    }
  }
}
