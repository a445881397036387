/**
 * How a save or a restore can fail, of one device or of several.
 *
 * @module
 */

import { type Hint, VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import { printable } from "../base/printable.ts";
import { isLost, type Recovery } from "../vfio/state/recovery.ts";
import type { CheckpointErrorCode } from "../checkpoint/checkpoint_error.ts";
import type { DeviceClosedCode } from "../migration/closed_error.ts";
import type { MigrationErrorCode } from "../migration/migration_error.ts";
import type { AnswerError } from "../vfio/device/answer_error.ts";
import type { ReasonCode } from "../vfio/reasons/unsupported_error.ts";
import type { IdentityError } from "./identity/identity_error.ts";
import type { StateName } from "../vfio/state/states.ts";
import type { DriverNote } from "../vfio/notes/driver_notes.ts";

/** What became of one of the devices. */
export interface DeviceOutcome {
  /** The name it was opened by. */
  readonly name: string;
  /** Its state after all recovery; null if there is none to tell: it does not migrate, or was closed. */
  readonly state: StateName | null;
  /** What was done about it. */
  readonly recovery: Recovery;
  /** What its driver did against the rules besides. */
  readonly notes: readonly DriverNote[];
  /** What went wrong with this one; null if it was another, or none of them. */
  readonly error: Error | null;
}

/**
 * What may go wrong between the two sides of a live migration: `connection-lost`; `peer-timeout` if
 * the other side stalls; `peer-protocol` if it says what it must not; `peer-refused` if it gives up;
 * `no-convergence` if memory changes faster than it is sent; `memory-differs` if both sides compared
 * it; `in-doubt` if both stand still and neither knows which is to run; `owner-lost`, `owner-timeout`
 * and `owner-protocol` if the owner of the device is gone, does not answer, or says what it must not.
 */
export type LiveErrorCode =
  | "connection-lost"
  | "peer-timeout"
  | "peer-protocol"
  | "peer-refused"
  | "no-convergence"
  | "memory-differs"
  | "in-doubt"
  | "owner-lost"
  | "owner-timeout"
  | "owner-protocol";

/** The code of what failed first, if it has one; `io` if a file or another call failed. */
export type TransferErrorCode =
  | LiveErrorCode
  | MigrationErrorCode
  | CheckpointErrorCode
  | ReasonCode
  | DeviceClosedCode
  | AnswerError["code"]
  | IdentityError["code"];

/** What a {@linkcode TransferError} knows. */
export interface TransferErrorInfo {
  /** A stable word for what went wrong, such as `transition-refused` or `cancelled`. */
  readonly code: TransferErrorCode;
  /** All devices, in the order in which they were given. */
  readonly devices: readonly DeviceOutcome[];
  /** The errno's name if a kernel call failed. */
  readonly errno?: string | undefined;
  /** What to do next. */
  readonly hint?: Hint | string | null | undefined;
}

/**
 * A save or a restore that failed: what failed first (its `cause`: a
 * `MigrationError`, `CheckpointError`, `CheckpointFileError`, `IdentityError`,
 * …), and the state that each device is in now.
 *
 * @example
 * ```ts
 * import { TransferError } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const error = new TransferError("Cannot save 2 devices", {
 *   code: "io",
 *   devices: [
 *     { name: "fd:3", state: "running", recovery: "running", notes: [], error: null },
 *     { name: "fd:6", state: "error", recovery: "failed", notes: [], error: new Error("EIO") },
 *   ],
 * });
 * assert.equal(error.lost, true);
 * assert.deepEqual(error.failed.map(({ name }) => name), ["fd:6"]);
 * ```
 */
export class TransferError extends VfiokitError implements TransferErrorInfo {
  static {
    registerErrorClass(this);
  }

  /** Always `TransferError`. */
  override readonly name = "TransferError";
  /** A stable word for what went wrong. */
  readonly code: TransferErrorCode;
  /** All devices, in the order in which they were given. */
  readonly devices: readonly DeviceOutcome[];
  /** The errno's name if a kernel call failed. */
  readonly errno: string | undefined;

  /** Makes the error. */
  constructor(message: string, info: TransferErrorInfo, options?: ErrorOptions) {
    super(printable(message), options, info.hint);
    this.code = info.code;
    this.devices = info.devices;
    this.errno = info.errno;
  }

  /** The devices that something went wrong with. */
  get failed(): readonly DeviceOutcome[] {
    return this.devices.filter(({ error }) => error !== null);
  }

  /** Whether only a reset leads one of them on. */
  get lost(): boolean {
    return this.devices.some(({ state, recovery }) => state !== null && isLost(state, recovery));
  }
}
