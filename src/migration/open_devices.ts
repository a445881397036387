/**
 * Opens several devices at once.
 *
 * @module
 */

import { cleanedUpAsync, cleanlyAsync } from "../base/cleanup.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { type DeviceName, parseDeviceName } from "../vfio/open/device_name.ts";
import { kernelFor } from "../vfio/open/kernel_for.ts";
import { ownersAmong } from "../vfio/open/sharing.ts";
import { ask } from "./thread/session_client.ts";
import { type Device, type DeviceDescription, openDevice, type OpenOptions } from "./device.ts";

/** Open devices, in the order of their names; they are closed in reverse order. */
export interface OpenDevices extends ReadonlyArray<Device>, AsyncDisposable {}

/** How to open several devices. */
export interface OpenDevicesOptions extends Omit<OpenOptions, "dataFdSockets" | "channel"> {
  /** The fd of the channel that each device is reached through, in the order of the names. */
  readonly channels?: readonly (number | undefined)[] | undefined;
  /** More options of each device, in the order of the names. */
  readonly each?: readonly OpenOptions[] | undefined;
  /** Serves them on this thread with this kernel, as {@linkcode openDevice} does. */
  readonly kernel?: Kernel | undefined;
}

/**
 * Opens several devices, each as {@linkcode openDevice} does. A group can be opened only once, so
 * devices of one group share it and its container, or their iommufd and IOAS: the first device
 * opens them. If one device cannot be opened, none stays open.
 *
 * @param names The devices' names; a simulated device may be named more than once, each a separate
 * device.
 * @throws {DeviceNameError} If one of the others is.
 * @throws What {@linkcode openDevice} throws.
 *
 * @example
 * ```ts
 * import { openDevices } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * await using devices = await openDevices(["sim:mlx5", "sim:qat"]);
 * assert.deepEqual(devices.map(({ name }) => name), ["sim:mlx5", "sim:qat"]);
 * ```
 */
export async function openDevices(
  names: readonly string[],
  options: OpenDevicesOptions = {},
): Promise<OpenDevices> {
  const { channels, each, ...common } = options;
  const { kernel } = common;
  const owners = ownersAmong(
    names.map(parseDeviceName),
    (name) => kernel ?? (isOneOfMany(name) ? null : kernelFor(name)),
    names,
  );
  const opened: Device[] = [];
  const closing = new AsyncDisposableStack();
  try {
    for (const [index, name] of names.entries()) {
      const owner = opened[owners[index] ?? -1];
      if (owner !== undefined) await ask(owner, "share");
      const shared = sharedFds(owner?.description);
      const own = { ...common, ...each?.[index], ...shared, channel: channels?.[index] };
      opened.push(closing.use(await openDevice(name, own)));
    }
  } catch (error) {
    throw await cleanedUpAsync(error, () => closing.disposeAsync());
  }
  const close = (): Promise<void> => cleanlyAsync(() => closing.disposeAsync());
  return Object.assign(opened, { [Symbol.asyncDispose]: close });
}

/** Whether each use of the name makes another device. */
function isOneOfMany({ kind }: DeviceName): boolean {
  return kind === "sim" || kind === "replay";
}

/** The fds of what a device is opened in: on another thread, objects of this one are no use. */
function sharedFds(owner: DeviceDescription | undefined): OpenOptions {
  if (owner === undefined) return {};
  const { fds: { group, container, iommufd }, ioas } = owner;
  return {
    groupFd: group ?? undefined,
    containerFd: container ?? undefined,
    iommufdFd: iommufd ?? undefined,
    ioasId: ioas ?? undefined,
  };
}
