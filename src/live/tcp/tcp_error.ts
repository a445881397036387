/**
 * How a connection to the other side of a migration can fail.
 *
 * @module
 */

import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { type Hint, VfiokitError } from "../../base/vfiokit_error.ts";

/**
 * What is wrong.
 *
 * - `bad-address`: it is no address of TCP, or one that may not be used in plain.
 * - `bad-key`: the key or a certificate cannot be read, does not fit, or is readable by others.
 * - `unreachable`: nobody listens there, or the network does not lead there.
 * - `not-accepted`: the peer did not prove that it is one of those that are accepted, or it refused.
 * - `in-use`: the address cannot be listened on.
 * - `timeout`: the peer did not answer in time.
 */
export type TcpErrorCode =
  | "bad-address"
  | "bad-key"
  | "unreachable"
  | "not-accepted"
  | "in-use"
  | "timeout";

/**
 * A connection that cannot be made.
 *
 * @example
 * ```ts
 * import { TcpError } from "vfiokit/live";
 * import assert from "node:assert/strict";
 *
 * assert.equal(new TcpError("timeout", "Cannot connect to tcp://[::1]:7").code, "timeout");
 * ```
 */
export class TcpError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `TcpError`. */
  override readonly name = "TcpError";
  /** What is wrong. */
  readonly code: TcpErrorCode;

  /** Makes the error. */
  constructor(code: TcpErrorCode, message: string, cause?: unknown, hint?: Hint | string) {
    super(printable(message), cause === undefined ? {} : { cause }, hint);
    this.code = code;
  }
}
