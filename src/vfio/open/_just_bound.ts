/**
 * The moments after a driver was bound: sysfs shows the device before its node is in /dev, and
 * before its group knows it.
 */

import { isErrno } from "../../kernel/error.ts";
import { nap } from "../../kernel/nap.ts";
import { isVfioBound, type SysfsDevice } from "../sysfs/sysfs.ts";

/** How long to wait for what sysfs promises, in milliseconds; about 250 were seen. */
const PATIENCE_MS = 1000;

/** The pause between two attempts, in milliseconds. */
const PAUSE_MS = 20;

/**
 * Makes an attempt, again and again for up to a second while it fails with one of these errnos.
 * A device that no VFIO driver is bound to is promised nothing: there is one attempt then.
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
      nap(PAUSE_MS);
    }
  }
}
