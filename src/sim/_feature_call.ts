/**
 * One VFIO_DEVICE_FEATURE call, and what the kernel checks in it whatever the
 * feature is.
 */

import {
  VFIO_DEVICE_FEATURE_GET as GET,
  VFIO_DEVICE_FEATURE_MASK as MASK,
  VFIO_DEVICE_FEATURE_PROBE as PROBE,
  VFIO_DEVICE_FEATURE_SET as SET,
  vfioDeviceFeature,
} from "../uapi/mod.ts";
import type { StructCodec } from "../uapi/codec.ts";
import { refuse } from "./_refusal.ts";
import { type Argument, bytesToUser, fromUser } from "./_user.ts";

/** Where the feature's own struct lies. */
const DATA = vfioDeviceFeature.size;

/** A call. */
export class FeatureCall {
  readonly #arg: Argument;
  readonly #flags: number;
  /** Bytes that the caller says it has for the feature's struct. */
  readonly #room: number;

  /** Takes the call, unless no feature could be meant by it. */
  constructor(arg: Argument) {
    const { argsz, flags } = fromUser(vfioDeviceFeature, arg);
    if (argsz < DATA) refuse("EINVAL");
    if ((flags & ~(MASK | GET | SET | PROBE)) !== 0) refuse("EINVAL");
    if ((flags & PROBE) === 0 && (flags & GET) !== 0 && (flags & SET) !== 0) refuse("EINVAL");
    this.#arg = arg;
    this.#flags = flags;
    this.#room = argsz - DATA;
  }

  /** VFIO_DEVICE_FEATURE_*. */
  get feature(): number {
    return this.#flags & MASK;
  }

  /** Whether it is a GET, or a SET. */
  is(operation: number): boolean {
    return (this.#flags & operation) !== 0;
  }

  /** Whether the feature is to be done, and not just asked for (vfio_check_feature). */
  check(operations: number, size: number): boolean {
    if ((this.#flags & (GET | SET) & ~operations) !== 0) refuse("EINVAL");
    if (this.is(PROBE)) return false;
    if (!this.is(GET | SET)) refuse("EINVAL");
    if (this.#room < size) refuse("EINVAL");
    return true;
  }

  /** The feature's struct, as the caller sent it. */
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
