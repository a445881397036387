/**
 * The error of a device that its VMM could not be given back, or that got its former state back.
 *
 * @module
 */

import { registerErrorClass } from "../base/error_transfer.ts";
import { printable } from "../base/printable.ts";
import { VfiokitError } from "../base/vfiokit_error.ts";
import { MigrationError } from "../migration/migration_error.ts";
import type { StateName } from "../vfio/state/states.ts";

/** Why a device could not be used while its VMM is paused. */
export type PausedVmErrorCode =
  /** The VMM's pause did not stop the device: it is another VMM's. */
  | "not-its-vmm"
  /** The state has changed the configuration space that the VMM had set. */
  | "config-changed"
  /** The new state could not be loaded, and the device has its former state again. */
  | "rolled-back"
  /** The device could not be brought to the state that the VMM believes in: that stays paused. */
  | "left-paused";

/**
 * A device that its VMM could not be given back, or that is not that VMM's, or that got its former
 * state back.
 *
 * @example
 * ```ts
 * import { PausedVmError } from "vfiokit/vmm";
 * import assert from "node:assert/strict";
 *
 * const error = new PausedVmError("left-paused", "Cannot bring it back", "resuming");
 * assert.deepEqual([error.code, error.deviceState], ["left-paused", "resuming"]);
 * ```
 */
export class PausedVmError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `PausedVmError`. */
  override readonly name = "PausedVmError";
  /** Why, as a code. */
  readonly code: PausedVmErrorCode;
  /** The state that was read last. */
  readonly deviceState: StateName;

  /** Makes the error. */
  constructor(
    code: PausedVmErrorCode,
    message: string,
    state: StateName,
    { hint, cause }: { readonly hint?: string; readonly cause?: unknown } = {},
  ) {
    super(printable(message), { cause }, hint);
    this.code = code;
    this.deviceState = state;
  }
}

/** What an error says, without what it says of a device's state: that has changed since. */
export function reasonOf(error: unknown): string {
  const migration = migrationErrorOf(error);
  if (migration !== null) return migration.failure;
  return error instanceof Error ? error.message : String(error);
}

/** The error of the device's step among an error and its causes; null if there is none. */
export function migrationErrorOf(error: unknown): MigrationError | null {
  for (let next = error; next instanceof Error; next = next.cause) {
    if (next instanceof MigrationError) return next;
  }
  return null;
}
