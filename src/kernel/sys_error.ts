/**
 * The error that every kernel call throws.
 *
 * @module
 */

import { type ErrnoName, errnoName, errnoText } from "./errno_names.ts";
import { VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import { printable } from "../base/printable.ts";

/**
 * A failed system call: the call, the object it was made on, and the errno.
 *
 * @example
 * ```ts
 * import { SysError } from "vfiokit/kernel";
 * import assert from "node:assert/strict";
 *
 * const error = new SysError("open", 16, "/dev/vfio/12");
 * assert.equal(error.code, "EBUSY");
 * assert.equal(error.message, "open /dev/vfio/12: EBUSY (device or resource busy)");
 * ```
 */
export class SysError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `SysError`. */
  override readonly name = "SysError";
  /** The call, such as `open`, `ioctl VFIO_GROUP_GET_STATUS`, `pread`. */
  readonly syscall: string;
  /** The errno number, as the kernel set it. */
  readonly errno: number;
  /** The errno's name, such as `EBUSY`; `errno 600` where it has none here. */
  readonly code: ErrnoName | `errno ${number}`;
  /** What the call was made on: a path, `fd 3`, a register. Empty if unknown. */
  readonly object: string;
  /** What is known beside the errno: what a server sent, say. Empty if nothing is. */
  readonly detail: string;

  /** Creates the error; `object` is what the call was made on. */
  constructor(syscall: string, errno: number, object = "", detail = "") {
    const text = errnoText(errno);
    super(
      `${syscall}${object === "" ? "" : " " + printable(object)}: ${errnoName(errno)}${
        text === "" ? "" : ` (${text})`
      }${detail === "" ? "" : `: ${printable(detail)}`}`,
    );
    this.syscall = syscall;
    this.errno = errno;
    this.code = errnoName(errno);
    this.object = object;
    this.detail = detail;
  }
}

/** Whether an error is a {@linkcode SysError} with one of these errno names. */
export function isErrno(error: unknown, ...codes: string[]): error is SysError {
  return error instanceof SysError && codes.includes(error.code);
}
