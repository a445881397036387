/**
 * The v1 protocol's `device_state`: three bits of a 32-bit register. The other
 * bits are reserved and must be preserved (linux/vfio.h, `struct
 * vfio_device_migration_info`).
 *
 * | bits | state         | bits | state    |
 * | ---- | ------------- | ---- | -------- |
 * | 000b | stop          | 100b | resuming |
 * | 001b | running       | 101b | invalid  |
 * | 010b | stop-and-copy | 110b | error    |
 * | 011b | pre-copy      | 111b | invalid  |
 *
 * @module
 */

import {
  VFIO_DEVICE_STATE_MASK,
  VFIO_DEVICE_STATE_V1_RESUMING,
  VFIO_DEVICE_STATE_V1_SAVING,
} from "./constants.ts";

const ERROR = VFIO_DEVICE_STATE_V1_SAVING | VFIO_DEVICE_STATE_V1_RESUMING;

/**
 * Whether a device may be put into a `device_state`: RESUMING excludes the other
 * two bits. The macro `VFIO_DEVICE_STATE_VALID(state)`.
 *
 * @example
 * ```ts
 * import { valid } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * assert.equal(valid(0b011), true);
 * assert.equal(valid(0b101), false);
 * ```
 */
export function valid(state: number): boolean {
  return (state & VFIO_DEVICE_STATE_V1_RESUMING) === 0 ||
    (state & VFIO_DEVICE_STATE_MASK) === VFIO_DEVICE_STATE_V1_RESUMING;
}

/**
 * Whether a `device_state` is the error state: SAVING and RESUMING without
 * RUNNING. The macro `VFIO_DEVICE_STATE_IS_ERROR(state)`.
 *
 * @example
 * ```ts
 * import { isError } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * assert.equal(isError(0b110), true);
 * assert.equal(isError(0b111), false);
 * ```
 */
export function isError(state: number): boolean {
  return (state & VFIO_DEVICE_STATE_MASK) === ERROR;
}

/**
 * Turns a `device_state` into the error state and preserves the reserved bits.
 * The macro `VFIO_DEVICE_STATE_SET_ERROR(state)`, which doesn't compile in
 * headers before Linux 5.18 because a name in it is misspelt.
 *
 * @returns the register, 0 to 2^32 - 1
 *
 * @example
 * ```ts
 * import { setError } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * assert.equal(setError(0x8000_0001), 0x8000_0006);
 * ```
 */
export function setError(state: number): number {
  return ((state & ~VFIO_DEVICE_STATE_MASK) | ERROR) >>> 0;
}
