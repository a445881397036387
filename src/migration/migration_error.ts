/**
 * The error of a failed migration step.
 *
 * @module
 */

import { SysError } from "../kernel/sys_error.ts";
import { isLost, type Recovery } from "../vfio/state/recovery.ts";
import { type Hint, VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import { printable } from "../base/printable.ts";
import type { DriverNote } from "../vfio/notes/driver_notes.ts";
import type { StateName } from "../vfio/state/states.ts";

/** The code of a failed migration step. */
export type MigrationErrorCode =
  | "io"
  | "cancelled"
  | "transition-refused"
  | "wrong-state"
  | "left-state"
  | "failed"
  | "no-such-state"
  | "no-such-arc"
  | "state-refused"
  | "unreadable"
  | "reset-ignored"
  | "reset-failed"
  | "transaction-cut"
  | "transition-ignored"
  | "interrupted-transfer"
  | "incompatible-state"
  | "data-size-zero"
  | "data-offset"
  | "pending-bytes"
  | "no-progress"
  | "state-missing"
  | "no-data-fd"
  | "no-precopy"
  | "bad-data-fd"
  | "no-data-fd-sockets"
  | "state-too-long"
  | "needs-newer-driver"
  | "data-bounds"
  | "interrupted"
  | "read-back";

/** The details of a {@linkcode MigrationError}. */
export interface MigrationErrorInfo {
  /** A stable word for what went wrong, such as `transition-refused`. */
  readonly code: MigrationErrorCode;
  /** The device's state after all recovery. */
  readonly deviceState: StateName;
  /** What was done about it. */
  readonly recovery: Recovery;
  /** What failed, without the recovery, if the message has both. */
  readonly failure?: string | undefined;
  /** The errno's name if a kernel call failed. */
  readonly errno?: string | undefined;
  /** What to do next. */
  readonly hint?: Hint | string | null | undefined;
}

/**
 * A step of a migration that failed, and the state the device is in now.
 *
 * @example
 * ```ts
 * import { MigrationError } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const error = new MigrationError("Cannot stop the device", {
 *   code: "transition-refused",
 *   deviceState: "running",
 *   recovery: "none",
 * });
 * assert.equal(error.lost, false);
 * ```
 */
export class MigrationError extends VfiokitError implements MigrationErrorInfo {
  static {
    registerErrorClass(this);
  }

  /** Always `MigrationError`. */
  override readonly name = "MigrationError";
  /** A stable word for what went wrong. */
  readonly code: MigrationErrorCode;
  /** The device's state after all recovery. */
  readonly deviceState: StateName;
  /** What was done about it. */
  readonly recovery: Recovery;
  /** The errno's name if a kernel call failed. */
  readonly errno: string | undefined;
  /** What failed, as in the message but without the recovery. */
  readonly failure: string;
  /** Notes about the driver from the failed work. */
  notes: readonly DriverNote[] = [];

  /** Makes the error. */
  constructor(message: string, info: MigrationErrorInfo, options?: ErrorOptions) {
    super(printable(message), options, info.hint);
    this.code = info.code;
    this.failure = printable(info.failure ?? message);
    this.deviceState = info.deviceState;
    this.recovery = info.recovery;
    this.errno = info.errno;
  }

  /**
   * Whether the device needs a reset: it is in ERROR, its state is unknown, or a required reset
   * failed.
   */
  get lost(): boolean {
    return isLost(this.deviceState, this.recovery);
  }
}

/** The error of a step after which nothing was done about the device yet. */
export function stepError(
  message: string,
  code: MigrationErrorCode,
  deviceState: StateName,
  { cause, hint }: { readonly cause?: Error | undefined; readonly hint?: Hint | undefined } = {},
): MigrationError {
  const errno = cause instanceof SysError ? cause.code : undefined;
  const info = { code, deviceState, recovery: "none", errno, hint } as const;
  return new MigrationError(message, info, { cause });
}
