/**
 * How a bug shows: what a probe sees on a clean device, and on one with the bug.
 */

import { SysError } from "../../../src/kernel/sys_error.ts";

/** A probe of a device, and its two answers. */
export interface BugCase<C> {
  /** The device's spec, without the bug; by default a plain one of its protocol. */
  readonly on?: string;
  readonly probe: (client: C) => unknown;
  readonly clean: unknown;
  readonly buggy: unknown;
}

/** The result of a call, or the name of its errno. */
export function said(call: () => unknown): unknown {
  try {
    return call() ?? "done";
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}
