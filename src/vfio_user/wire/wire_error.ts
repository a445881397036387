/**
 * What can be wrong with a connection, apart from the errno that a reply carries.
 *
 * @module
 */

import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { VfiokitError } from "../../base/vfiokit_error.ts";

/** What is wrong with a connection. */
export type WireErrorCode =
  /** The other end closed it. */
  | "closed"
  /** The other end did not take or send a message in time. */
  | "timeout"
  /** The other end sent something that the protocol does not have. */
  | "malformed";

/**
 * A vfio-user connection cannot be used any more.
 *
 * @example
 * ```ts
 * import { WireError } from "./wire_error.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(new WireError("malformed", "a header of 3 bytes").code, "malformed");
 * ```
 */
export class WireError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `WireError`. */
  override readonly name = "WireError";
  /** What is wrong. */
  readonly code: WireErrorCode;

  /** Makes the error. */
  constructor(code: WireErrorCode, message: string, options?: ErrorOptions) {
    super(printable(message), options);
    this.code = code;
  }
}

/** The error of a message that cannot be true. */
export function malformed(message: string): WireError {
  return new WireError("malformed", message);
}
