/**
 * VFIO_DEVICE_FEATURE: what a device has beside its regions.
 *
 * @module
 */

import { SysError } from "../kernel/error.ts";
import {
  type StructCodec,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeature,
} from "../uapi/mod.ts";
import { ioctl } from "./_ioctl.ts";
import type { VfioDevice } from "./device.ts";

/** A feature's number, and its C name without `VFIO_DEVICE_FEATURE_`, for messages. */
export interface Feature {
  /** VFIO_DEVICE_FEATURE_*. */
  readonly number: number;
  /** Such as `MIG_DEVICE_STATE`. */
  readonly name: string;
}

/** What a feature is asked of. */
export type FeatureDevice = Pick<VfioDevice, "kernel" | "fd">;

function request(
  { kernel, fd }: FeatureDevice,
  { number, name }: Feature,
  flags: number,
  payload: Uint8Array | null,
): Uint8Array<ArrayBuffer> {
  const size = vfioDeviceFeature.size + (payload?.length ?? 0);
  const argument = new Uint8Array(new ArrayBuffer(size));
  vfioDeviceFeature.pack({ argsz: size, flags: (number | flags) >>> 0 }, argument);
  if (payload !== null) argument.set(payload, vfioDeviceFeature.size);
  ioctl(kernel, fd, `VFIO_DEVICE_FEATURE ${name}`, VFIO_DEVICE_FEATURE, argument);
  return argument;
}

/**
 * Asks whether a feature can be read or written.
 *
 * @returns null where it can; else the errno's name, ENOTTY where the device does not know it.
 */
export function probeFeature(
  device: FeatureDevice,
  feature: Feature,
  access: "get" | "set",
): string | null {
  const direction = access === "get" ? VFIO_DEVICE_FEATURE_GET : VFIO_DEVICE_FEATURE_SET;
  try {
    request(device, feature, VFIO_DEVICE_FEATURE_PROBE | direction, null);
    return null;
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

/**
 * Reads a feature.
 *
 * @throws {SysError} ENOTTY where the device does not have it.
 */
export function getFeature<T extends object>(
  device: FeatureDevice,
  feature: Feature,
  codec: StructCodec<T>,
): T {
  const payload = new Uint8Array(codec.size);
  const answer = request(device, feature, VFIO_DEVICE_FEATURE_GET, payload);
  return codec.unpack(answer, vfioDeviceFeature.size);
}

/**
 * Writes a feature.
 *
 * @returns The struct as the kernel left it.
 * @throws {SysError} The kernel's; what it left in the struct then must not be believed.
 */
export function setFeature<T extends object>(
  device: FeatureDevice,
  feature: Feature,
  codec: StructCodec<T>,
  value: Partial<T>,
): T {
  const answer = request(device, feature, VFIO_DEVICE_FEATURE_SET, codec.pack(value));
  return codec.unpack(answer, vfioDeviceFeature.size);
}
