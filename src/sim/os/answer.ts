/**
 * Turns the refusals of the simulated kernel into the errors that callers see.
 */

import { SysError } from "../../kernel/sys_error.ts";
import { Refusal } from "./refusal.ts";

/** The SysError of a refused call; any other error unchanged. */
export function sysError(error: unknown, syscall: string, object: string): unknown {
  return error instanceof Refusal ? new SysError(syscall, error.errno, object) : error;
}

/** Runs a call; a refusal becomes the SysError of that call. */
export function answer<T>(syscall: string, object: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw sysError(error, syscall, object);
  }
}
