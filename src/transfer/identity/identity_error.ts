/**
 * A checkpoint of another kind of device.
 *
 * @module
 */

import { printable } from "../../text/mod.ts";

/**
 * A good checkpoint that does not fit the device at hand, or the devices: none
 * was touched.
 *
 * @example
 * ```ts
 * import { IdentityError } from "./identity_error.ts";
 * import assert from "node:assert/strict";
 *
 * const error = new IdentityError(["the protocol is \"v1\" in the checkpoint, \"v2\" of this device"]);
 * assert.equal(error.differences.length, 1);
 * ```
 */
export class IdentityError extends Error {
  /** Always `IdentityError`. */
  override readonly name = "IdentityError";
  /** What differs, in words. */
  readonly differences: readonly string[];
  /** What to do next; empty where there is nothing to say. */
  readonly hint: string;

  /** Makes the error from what differs; `what` is that in short. */
  constructor(
    differences: readonly string[],
    what: string = "it is of another kind of device",
    hint: string = "",
  ) {
    super(printable(`Cannot restore the checkpoint: ${what}: ${differences.join("; ")}`));
    this.differences = differences;
    this.hint = hint;
  }
}
