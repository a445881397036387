/**
 * Refusals as the caller of a simulated call gets them.
 */

import { SysError } from "../kernel/error.ts";
import { Refusal } from "./_refusal.ts";

/** A refusal as the SysError of a call; any other error as it is. */
export function sysError(error: unknown, syscall: string, object: string): unknown {
  return error instanceof Refusal ? new SysError(syscall, error.errno, object) : error;
}

/** Answers a call. */
export function answer<T>(syscall: string, object: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw sysError(error, syscall, object);
  }
}
