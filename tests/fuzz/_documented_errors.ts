/**
 * The errors that the library tells of what it met: a kernel, a driver, a
 * device, a checkpoint. Whatever those do, nothing else comes out.
 */

import { AnswerError, DmaError } from "../../src/vfio/mod.ts";
import {
  BusyError,
  CheckpointError,
  CheckpointFileError,
  DeviceClosedError,
  IdentityError,
  MigrationError,
  OpenError,
  TransferError,
  UnsupportedError,
} from "../../mod.ts";
import { DirtyRangeError } from "../../src/dirty/mod.ts";
import { SysError } from "../../src/kernel/mod.ts";

/**
 * The classes. Mistakes of the caller (a name, an argument) are not among them; a range may be one
 * by what the kernel says of its pages.
 */
export const DOCUMENTED_ERRORS: readonly (abstract new (...args: never[]) => Error)[] = [
  AnswerError,
  BusyError,
  CheckpointError,
  CheckpointFileError,
  DeviceClosedError,
  TransferError,
  DirtyRangeError,
  DmaError,
  IdentityError,
  MigrationError,
  OpenError,
  SysError,
  UnsupportedError,
];

/** Whether an error is one of those. */
export function isDocumented(error: unknown): error is Error {
  return DOCUMENTED_ERRORS.some((kind) => error instanceof kind);
}
