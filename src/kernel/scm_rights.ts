/**
 * The limits of messages that carry fds (SCM_RIGHTS), for every kernel.
 *
 * @module
 */

/** The most fds that one message carries (SCM_MAX_FD of include/net/scm.h). */
export const SCM_MAX_FD = 253;

/**
 * Checks how many fds a caller wants to receive.
 *
 * @throws {RangeError} If it is not a whole number from 1 to {@linkcode SCM_MAX_FD}.
 *
 * @example
 * ```ts
 * import { checkMaxFds, SCM_MAX_FD } from "./scm_rights.ts";
 * import assert from "node:assert/strict";
 *
 * checkMaxFds(SCM_MAX_FD);
 * assert.throws(() => checkMaxFds(0), RangeError);
 * ```
 */
export function checkMaxFds(maxFds: number): void {
  if (Number.isInteger(maxFds) && maxFds >= 1 && maxFds <= SCM_MAX_FD) return;
  throw new RangeError(`Cannot receive up to ${maxFds} fds: a message carries 1 to ${SCM_MAX_FD}`);
}
