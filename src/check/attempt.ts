/**
 * A kernel call whose refusal is an answer, not an error.
 *
 * @module
 */

import { SysError } from "../kernel/sys_error.ts";

/** The answer to a call: a value, or the errno's name. */
export type Attempt<T> =
  | { readonly value: T; readonly errno: null }
  | { readonly value: null; readonly errno: string };

/**
 * Makes a call; an errno is an answer.
 *
 * @throws What is not a SysError.
 *
 * @example
 * ```ts
 * import { attempt } from "vfiokit/check";
 * import { SysError } from "vfiokit/kernel";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(attempt(() => 1), { value: 1, errno: null });
 * assert.equal(attempt(() => { throw new SysError("read", 22); }).errno, "EINVAL");
 * ```
 */
export function attempt<T>(call: () => T): Attempt<T> {
  try {
    return { value: call(), errno: null };
  } catch (error) {
    if (error instanceof SysError) return { value: null, errno: error.code };
    throw error;
  }
}

/** The answer in words: `success` or the errno's name. */
export function answered({ errno }: Attempt<unknown>): string {
  return errno ?? "success";
}
