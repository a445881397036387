/**
 * The error of a device that is served no longer.
 *
 * @module
 */

import { ClosedError } from "../kernel/fd.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import type { StateName } from "../vfio/state/states.ts";

/** Why a device is served no longer: it was `closed`, or its `thread-ended` by itself. */
export type DeviceClosedCode = "closed" | "thread-ended";

/** What a {@linkcode DeviceClosedError} knows. */
export interface DeviceClosedErrorInfo {
  /** Why it is served no longer. */
  readonly code: DeviceClosedCode;
  /** The name that the device was opened by. */
  readonly device: string;
  /** The state that the device was in when it was last heard of. */
  readonly deviceState: StateName;
}

/**
 * A request to a device that was closed, or whose thread has ended. Every
 * request that such a device has not answered fails with this error: calls,
 * streams, `save` and `restore`. A cause, where there is one, says what became of the
 * request that was under way.
 *
 * Nothing can be asked of the device any more. One that was opened here has been closed,
 * and starts afresh where it is opened again. A borrowed one (`fd:N`) is as it was left.
 *
 * @example
 * ```ts
 * import { DeviceClosedError, openDevice } from "@vfiokit/vfiokit";
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
