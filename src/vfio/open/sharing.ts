/**
 * What devices that are opened together share: a group can be opened only once, and the devices of
 * a group can be bound to one iommufd only.
 */

import type { Kernel } from "../../kernel/kernel.ts";
import type { VfioDevice } from "../device/device.ts";
import type { Type1Container } from "../dma/container.ts";
import type { Ioas } from "../dma/ioas.ts";
import type { Iommufd } from "../dma/iommufd.ts";
import { type DeviceName, DeviceNameError, formatDeviceName } from "./device_name.ts";
import { findDevice } from "./find_device.ts";
import type { Group } from "./group.ts";

/** A group that is open, and the container that it is in. */
export interface GroupInContainer {
  /** The group. */
  readonly group: Group;
  /** The container. */
  readonly container: Type1Container;
}

/** An iommufd that is open. */
export interface OpenIommufd {
  /** The iommufd. */
  readonly iommufd: Iommufd;
  /** The IOAS to attach the device to, as Linux wants it in a group; null for a new one. */
  readonly ioas: Ioas | null;
}

/** What is open already, and what one more device is opened in. */
export type SharedParts = GroupInContainer | OpenIommufd;

/** What an open device shares with the next one of its group; null if that is not known. */
export function sharedParts({ group, container, ioas }: VfioDevice): SharedParts | null {
  if (group !== null && container !== null) return { group, container };
  return ioas === null ? null : { iommufd: ioas.iommufd, ioas };
}

/** What is known of a device before it is opened. */
interface Found {
  /** What exists only once: its folder in sysfs, its fd; null if each name makes a new device. */
  readonly key: string | null;
  /** Its group's number; null if it shares nothing. */
  readonly group: number | null;
}

/**
 * Finds out which devices share a group. Open them in this order, and close them in the reverse.
 *
 * @param kernelOf The kernel that has the device; null if its name makes a new one.
 * @param texts The names as the caller wrote them.
 * @returns For each device the index of the first one of its group, which opens what they share;
 * null for that one, and for a device that shares nothing.
 * @throws {DeviceNameError} If two names are of one device.
 * @throws What `findDevice` throws.
 */
export function ownersAmong(
  names: readonly DeviceName[],
  kernelOf: (name: DeviceName) => Kernel | null,
  texts: readonly string[] = names.map(formatDeviceName),
): (number | null)[] {
  const found = names.map((name) => find(name, kernelOf));
  return found.map(({ key, group }, index) => {
    const before = found.slice(0, index);
    const same = before.findIndex((other) => key !== null && other.key === key);
    if (same >= 0) throw namedTwice(texts[index]!, texts[same]!);
    const owner = before.findIndex((other) => group !== null && other.group === group);
    return owner < 0 ? null : owner;
  });
}

function find(name: DeviceName, kernelOf: (name: DeviceName) => Kernel | null): Found {
  if (name.kind === "fd") return { key: `fd:${name.fd}`, group: null };
  // Each name would be another client, and a server may have room for one.
  if (name.kind === "vfio-user") return { key: name.path, group: null };
  const kernel = kernelOf(name);
  // Opening reports it if there is no such device.
  const sysfs = kernel === null ? null : findDevice(kernel, name);
  return { key: sysfs?.path ?? null, group: sysfs?.group?.number ?? null };
}

function namedTwice(again: string, first: string): DeviceNameError {
  const which = first === again ? "" : `: it is the same device as "${first}"`;
  return new DeviceNameError(`Cannot open "${again}" twice${which}`);
}
