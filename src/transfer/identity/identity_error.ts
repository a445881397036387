/**
 * A checkpoint of another kind of device.
 *
 * @module
 */

import { type Hint, VfiokitError } from "../../base/vfiokit_error.ts";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";

/**
 * A good checkpoint that does not fit the device at hand, or the devices: none
 * was touched.
 *
 * @example
 * ```ts
 * import { IdentityError } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const error = new IdentityError(["the protocol is \"v1\" in the checkpoint, \"v2\" of this device"]);
 * assert.equal(error.differences.length, 1);
 * ```
 */
export class IdentityError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `IdentityError`. */
  override readonly name = "IdentityError";
  /** Always `identity`. */
  readonly code = "identity" as const;
  /** What differs, in words. */
  readonly differences: readonly string[];
  /** What is wrong with the checkpoint and what differs, as a clause: `it is of …`. */
  readonly problem: string;

  /** Makes the error from what differs; `what` is that in short. */
  constructor(
    differences: readonly string[],
    what: string = "it is of another kind of device",
    hint: Hint | string | null = null,
  ) {
    super(
      printable(`Cannot restore the checkpoint: ${what}: ${differences.join("; ")}`),
      undefined,
      hint,
    );
    this.differences = differences;
    this.problem = printable(`${what}: ${differences.join("; ")}`);
  }
}
