/**
 * The fds by which another process can use an open device.
 *
 * @module
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { VfioUserKernel } from "../../vfio_user/mod.ts";
import type { VfioDevice } from "../device/device.ts";
import { untraced } from "./kernel_for.ts";

/** The fds of a device, for another process to inherit; null for those that it does not have. */
export interface LentFds {
  /** The device's, or that of the channel to its server. */
  readonly device: number;
  /** Its group's. */
  readonly group: number | null;
  /** Its container's. */
  readonly container: number | null;
  /** Its iommufd's. */
  readonly iommufd: number | null;
}

/**
 * The fds of an open device. A device that is reached through a channel has this alone: the
 * connection that was made through it is this process's.
 *
 * @example
 * ```ts
 * import { lentFds, openVfioDevice, parseDeviceName } from "vfiokit/vfio";
 * import { SimKernel } from "vfiokit/sim";
 * import assert from "node:assert/strict";
 *
 * using device = openVfioDevice(new SimKernel("sim:mlx5"), parseDeviceName("sim:mlx5"));
 * const { device: fd, group, iommufd } = lentFds(device);
 * assert.deepEqual([fd, group, iommufd], [device.fd.number, device.group?.fd.number, null]);
 * ```
 */
export function lentFds({ kernel, fd, group, container, ioas }: VfioDevice): LentFds {
  const channel = channelOf(kernel);
  if (channel !== null) return { device: channel, group: null, container: null, iommufd: null };
  return {
    device: fd.number,
    group: group?.fd.number ?? null,
    container: container?.fd.number ?? null,
    iommufd: ioas?.iommufd.fd.number ?? null,
  };
}

/** The id of the IOAS that a device is attached to, in the iommufd that is lent; null without one. */
export function lentIoas({ kernel, ioas }: VfioDevice): number | null {
  return channelOf(kernel) === null ? ioas?.id ?? null : null;
}

/** The channel that a kernel reaches its device through; null if it has another way. */
function channelOf(kernel: Kernel): number | null {
  const own = untraced(kernel);
  return own instanceof VfioUserKernel ? own.channel : null;
}
