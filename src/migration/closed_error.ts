/**
 * The error of a request to a closed device.
 *
 * @module
 */

import { ClosedError } from "../kernel/fd.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import type { StateName } from "../vfio/state/states.ts";

/** Why a device cannot be used any more: it was `closed`, or its thread ended (`thread-ended`). */
export type DeviceClosedCode = "closed" | "thread-ended";

/** The details of a {@linkcode DeviceClosedError}. */
export interface DeviceClosedErrorInfo {
  /** Why it is served no longer. */
  readonly code: DeviceClosedCode;
  /** The name that the device was opened by. */
  readonly device: string;
  /** The state that the device was in when it was last heard of. */
  readonly deviceState: StateName;
}

/**
 * A request to a device that was closed, or whose thread has ended. Every unanswered request to
 * such a device fails with this error: calls, streams, `save` and `restore`. The cause, if there is
 * one, says how the request that was under way ended.
 *
 * The device object is of no further use. A device that this process opened has been closed, and
 * starts anew when it is opened again. A borrowed one (`fd:N`) stays in its state.
 *
 * @example
 * ```ts
 * import { DeviceClosedError, openDevice } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const device = await openDevice("sim:trapped");
 * await device.close();
 * await assert.rejects(device.state(), (error) => {
 *   assert.ok(error instanceof DeviceClosedError);
 *   assert.equal(error.code, "closed");
 *   return true;
 * });
 * ```
 */
export class DeviceClosedError extends ClosedError implements DeviceClosedErrorInfo {
  static {
    registerErrorClass(this);
  }

  /** Always `DeviceClosedError`. */
  override readonly name: string = "DeviceClosedError";
  /** Why it is served no longer. */
  override readonly code: DeviceClosedCode;
  /** The name that the device was opened by. */
  readonly device: string;
  /** The state that the device was in when it was last heard of. */
  readonly deviceState: StateName;

  /** Makes the error. */
  constructor(message: string, info: DeviceClosedErrorInfo, options?: ErrorOptions) {
    super(message, options);
    this.code = info.code;
    this.device = info.device;
    this.deviceState = info.deviceState;
  }
}
