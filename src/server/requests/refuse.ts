/**
 * How a request is refused: by the errno that its reply carries.
 */

import { ERRNO, type ErrnoName } from "../../kernel/errno_names.ts";
import { SysError } from "../../kernel/sys_error.ts";
import { DmaError } from "../../vfio/dma/dma_error.ts";

/** Refuses a request. */
export function refuse(errno: ErrnoName): never {
  throw new SysError("vfio-user request", ERRNO[errno]);
}

/** The errno for the reply to a request that failed; null for an error of another kind. */
export function errnoOfRefusal(error: unknown): number | null {
  if (error instanceof SysError) return error.errno;
  return error instanceof DmaError ? errnoOfRefusal(error.cause) : null;
}
