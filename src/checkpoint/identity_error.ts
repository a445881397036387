/**
 * A checkpoint of another kind of device.
 *
 * @module
 */

/**
 * A good checkpoint that does not fit the device at hand: the device was not
 * touched.
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

  /** Makes the error from what differs. */
  constructor(differences: readonly string[]) {
    super(
      `Cannot restore the checkpoint: it is of another kind of device: ${differences.join("; ")}`,
    );
    this.differences = differences;
  }
}
