/**
 * One VFIO_DEVICE_FEATURE call, with the checks that the kernel makes for every
 * feature.
 */

import {
  VFIO_DEVICE_FEATURE_GET as GET,
  VFIO_DEVICE_FEATURE_MASK as MASK,
  VFIO_DEVICE_FEATURE_PROBE as PROBE,
  VFIO_DEVICE_FEATURE_SET as SET,
  vfioDeviceFeature,
} from "../../uapi/mod.ts";
import type { StructCodec } from "../../uapi/struct_types.ts";
import { refuse } from "../os/refusal.ts";
import { type Argument, bytesToUser, fromUser } from "../os/user.ts";

/** Offset of the feature's own struct. */
const DATA = vfioDeviceFeature.size;

/** A call. */
export class FeatureCall {
  readonly #arg: Argument;
  readonly #flags: number;
  /** The bytes for the feature's struct, according to the caller's argsz. */
  readonly #room: number;

  /** Reads the argument, and refuses flags that no feature allows. */
  constructor(arg: Argument) {
    const { argsz, flags } = fromUser(vfioDeviceFeature, arg);
    if (argsz < DATA) refuse("EINVAL");
    if ((flags & ~(MASK | GET | SET | PROBE)) !== 0) refuse("EINVAL");
    if ((flags & PROBE) === 0 && (flags & GET) !== 0 && (flags & SET) !== 0) refuse("EINVAL");
    this.#arg = arg;
    this.#flags = flags;
    this.#room = argsz - DATA;
  }

  /** The feature's number, VFIO_DEVICE_FEATURE_*. */
  get feature(): number {
    return this.#flags & MASK;
  }

  /** Whether a flag (GET, SET or PROBE) is set. */
  is(operation: number): boolean {
    return (this.#flags & operation) !== 0;
  }

  /** Whether to perform the feature: false for a PROBE that is allowed (vfio_check_feature). */
  check(operations: number, size: number): boolean {
    if ((this.#flags & (GET | SET) & ~operations) !== 0) refuse("EINVAL");
    if (this.is(PROBE)) return false;
    if (!this.is(GET | SET)) refuse("EINVAL");
    if (this.#room < size) refuse("EINVAL");
    return true;
  }

  /** The feature's struct, as the caller passed it. */
  payload<T>(codec: StructCodec<T>): T {
    const arg = this.#arg;
    if (typeof arg === "number" || arg.length < DATA + codec.size) return refuse("EFAULT");
    return codec.unpack(arg, DATA);
  }

  /** Writes the feature's struct back. */
  answer<T>(codec: StructCodec<T>, value: T): void {
    bytesToUser(this.#arg, DATA, codec.pack(value));
  }
}
