/**
 * Opens several devices at once.
 *
 * @module
 */

import { cleanedUpAsync, cleanlyAsync } from "../base/cleanup.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { DeviceNameError, parseDeviceName } from "../vfio/open/device_name.ts";
import { findDevice } from "../vfio/open/find_device.ts";
import { kernelFor } from "../vfio/open/kernel_for.ts";
import { ask } from "./thread/session_client.ts";
import { type Device, type DeviceDescription, openDevice, type OpenOptions } from "./device.ts";

/** Open devices, in the order of their names; they are closed in reverse order. */
export interface OpenDevices extends ReadonlyArray<Device>, AsyncDisposable {}

/** How to open several devices. */
export interface OpenDevicesOptions extends Omit<OpenOptions, "dataFdSockets" | "channel"> {
  /** The fd of the channel that each device is reached through, in the order of the names. */
  readonly channels?: readonly (number | undefined)[] | undefined;
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
  const wanted = names.map((name) => inspect(name, options.kernel));
  refuseTwice(wanted);
  const opened: Device[] = [];
  const closing = new AsyncDisposableStack();
  try {
    for (const [index, { name, group }] of wanted.entries()) {
      const owner = wanted.findIndex((other) => group !== null && other.group === group);
      const sharing = opened[owner];
      const shared = sharedWith(sharing?.description);
      if (sharing !== undefined) await ask(sharing, "share");
      opened.push(
        closing.use(
          await openDevice(name, { ...options, ...shared, channel: options.channels?.[index] }),
        ),
      );
    }
  } catch (error) {
    throw await cleanedUpAsync(error, () => closing.disposeAsync());
  }
  const close = (): Promise<void> => cleanlyAsync(() => closing.disposeAsync());
  return Object.assign(opened, { [Symbol.asyncDispose]: close });
}

/** What a device shares with the next one of its group. */
function sharedWith(owner: DeviceDescription | undefined): OpenOptions {
  if (owner === undefined) return {};
  const { fds: { group, container, iommufd }, ioas } = owner;
  return {
    groupFd: group ?? undefined,
    containerFd: container ?? undefined,
    iommufdFd: iommufd ?? undefined,
    ioasId: ioas ?? undefined,
  };
}

/** A device to open. */
interface RequestedDevice {
  readonly name: string;
  /**
   * What exists only once: the folder in sysfs, or the fd; null if each name makes a new device.
   */
  readonly key: string | null;
  /** Its group's number; null if it does not matter. */
  readonly group: number | null;
}

function inspect(name: string, kernel: Kernel | undefined): RequestedDevice {
  const parsed = parseDeviceName(name);
  if (parsed.kind === "fd") return { name, key: `fd:${parsed.fd}`, group: null };
  // Each name would be another client, and a server may have room for one.
  if (parsed.kind === "vfio-user") return { name, key: parsed.path, group: null };
  const ownKernel = parsed.kind === "sim" || parsed.kind === "replay";
  if (ownKernel && kernel === undefined) return { name, key: null, group: null };
  // Opening reports it if there is no such device.
  const sysfs = findDevice(kernel ?? kernelFor(parsed), parsed);
  return { name, key: sysfs?.path ?? null, group: sysfs?.group?.number ?? null };
}

function refuseTwice(wanted: readonly RequestedDevice[]): void {
  for (const [index, { name, key }] of wanted.entries()) {
    const first = wanted.slice(0, index).find((other) => key !== null && other.key === key);
    if (first === undefined) continue;
    const which = first.name === name ? "" : `: it is the same device as "${first.name}"`;
    throw new DeviceNameError(`Cannot open "${name}" twice${which}`);
  }
}
