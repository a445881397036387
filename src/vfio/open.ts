/**
 * Opening a device by name: container, group, device, in the kernel's order.
 *
 * @module
 */

import { isErrno } from "../kernel/error.ts";
import { Fd } from "../kernel/fd.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { variantDriver } from "./_variant_driver.ts";
import { Type1Container } from "./container.ts";
import { VfioDevice } from "./device.ts";
import { type DeviceName, formatDeviceName } from "./device_name.ts";
import { Group } from "./group.ts";
import { nameIn } from "./kernel_for.ts";
import {
  groupNotViable,
  noIommuGroup,
  noiommuGroup,
  noSuchDevice,
  notBound,
  notInGroup,
  notVfioDevice,
  vfToken,
} from "./reasons.ts";
import {
  isVfioBound,
  readGroupDevices,
  readSysfsDevice,
  spoilsGroup,
  type SysfsDevice,
  sysfsPath,
} from "./sysfs.ts";
import { type Reason, UnsupportedError } from "./unsupported.ts";

/** How to open a device. */
export interface OpenVfioOptions {
  /** For a VF whose PF vfio-pci drives: the UUID that the PF's user chose. */
  readonly vfToken?: string | undefined;
  /** The fd of its group: for `fd:N`, and where the group is open already and has a container. */
  readonly groupFd?: number | undefined;
  /** The fd of its container, which goes with that of the group. */
  readonly containerFd?: number | undefined;
}

/**
 * Opens a device, or borrows an open one (`fd:N`). Opening a PCI device may
 * reset it. What was opened on the way is closed where a later step fails.
 *
 * @param kernel Where it lives; for a `sim:` name a SimKernel, whose first device it is.
 * @throws {UnsupportedError} If there is no such device, or VFIO cannot open it: why, and what to do.
 * @throws {BusyError} If somebody has its group open.
 * @throws {DeviceNameError} If the VF token is not a UUID.
 * @throws {AnswerError} If the driver's answer cannot be true.
 * @throws {SysError} If the kernel refuses for another reason.
 *
 * @example
 * ```ts
 * import { parseDeviceName } from "./device_name.ts";
 * import { kernelFor } from "./kernel_for.ts";
 * import { openVfioDevice } from "./open.ts";
 * import assert from "node:assert/strict";
 *
 * const name = parseDeviceName("sim:trapped");
 * using device = openVfioDevice(kernelFor(name), name);
 * assert.equal(device.borrowed, false);
 * ```
 */
export function openVfioDevice(
  kernel: Kernel,
  name: DeviceName,
  options: OpenVfioOptions = {},
): VfioDevice {
  const own = nameIn(kernel, name);
  if (own.kind === "fd") return borrowDevice(kernel, own.fd, options);
  const path = sysfsPath(own);
  const sysfs = readSysfsDevice(kernel, path);
  if (sysfs === null) throw new UnsupportedError([noSuchDevice(formatDeviceName(name), path)]);
  try {
    return openShared(kernel, sysfs, options) ?? openNamed(kernel, sysfs, options.vfToken);
  } catch (error) {
    // Whatever failed on the way, an unbound device is where to begin.
    if (!(error instanceof UnsupportedError) || isVfioBound(sysfs)) throw error;
    const reason = notBound(sysfs, variantDriver(kernel, sysfs));
    throw new UnsupportedError([reason, ...error.reasons], { cause: error });
  }
}

/**
 * Opens one more device of a group that is open and has a container. Closing
 * it leaves both open.
 *
 * @throws {UnsupportedError} If the group does not have it, or its VF token is missing or wrong.
 * @throws {AnswerError} If the driver's answer cannot be true.
 * @throws {SysError} If the kernel refuses for another reason.
 */
export function openGroupDevice(
  kernel: Kernel,
  group: Group,
  container: Type1Container,
  sysfs: SysfsDevice,
  options: Pick<OpenVfioOptions, "vfToken"> = {},
): VfioDevice {
  return openInGroup(kernel, group, container, sysfs, options.vfToken, false);
}

/** What sysfs alone says against opening a device. */
export function sysfsReasons(kernel: Kernel, sysfs: SysfsDevice): Reason[] {
  const bound = isVfioBound(sysfs) ? [] : [notBound(sysfs, variantDriver(kernel, sysfs))];
  if (sysfs.group === null) return [...bound, noIommuGroup(sysfs)];
  if (sysfs.group.noiommu) return [...bound, noiommuGroup(sysfs)];
  const devices = readGroupDevices(kernel, sysfs.group.number);
  const others = devices.filter((device) => device.path !== sysfs.path);
  return others.some(spoilsGroup) ? [...bound, groupNotViable(sysfs.group.number, devices)] : bound;
}

/** Opens a device in a group that is open; null where none was given. */
function openShared(
  kernel: Kernel,
  sysfs: SysfsDevice,
  { groupFd, containerFd, vfToken }: OpenVfioOptions,
): VfioDevice | null {
  if (groupFd === undefined || containerFd === undefined) return null;
  const group = Group.borrow(kernel, groupFd);
  const container = Type1Container.borrow(kernel, containerFd);
  return openInGroup(kernel, group, container, sysfs, vfToken, false);
}

function openNamed(kernel: Kernel, sysfs: SysfsDevice, token: string | undefined): VfioDevice {
  if (sysfs.group === null) throw new UnsupportedError([noIommuGroup(sysfs)]);
  if (sysfs.group.noiommu) throw new UnsupportedError([noiommuGroup(sysfs)]);
  const { number, path } = sysfs.group;
  using opened = new DisposableStack();
  const container = opened.use(Type1Container.open(kernel));
  const nodes = sysfs.vfioDevices.map((node) => `/dev/vfio/devices/${node}`);
  const group = opened.use(Group.open(kernel, path, nodes));
  const notViable = (cause?: unknown): UnsupportedError =>
    new UnsupportedError([groupNotViable(number, readGroupDevices(kernel, number))], { cause });
  if (!group.status().viable) throw notViable();
  try {
    container.attach(group);
  } catch (error) {
    // A driver of the host took a device since the status was read.
    if (isErrno(error, "EPERM", "EBUSY")) throw notViable(error);
    throw error;
  }
  const device = openInGroup(kernel, group, container, sysfs, token, true);
  opened.move();
  return device;
}

function openInGroup(
  kernel: Kernel,
  group: Group,
  container: Type1Container,
  sysfs: SysfsDevice,
  token: string | undefined,
  ownsGroup: boolean,
): VfioDevice {
  const { name } = sysfs;
  let fd: Fd;
  try {
    fd = group.openDevice(name, token);
  } catch (error) {
    const refusesToken = isErrno(error, "EACCES") ||
      (token !== undefined && isErrno(error, "EINVAL"));
    if (refusesToken && isErrno(error, "EACCES", "EINVAL")) {
      throw new UnsupportedError([vfToken(name, token !== undefined, error.code)], {
        cause: error,
      });
    }
    if (isErrno(error, "ENODEV")) {
      throw new UnsupportedError([notInGroup(name, group.fd.label)], { cause: error });
    }
    throw error;
  }
  try {
    return new VfioDevice(kernel, { label: name, fd, group, container, sysfs, ownsGroup });
  } catch (error) {
    fd.close();
    throw error;
  }
}

function borrowDevice(kernel: Kernel, number: number, options: OpenVfioOptions): VfioDevice {
  const { groupFd, containerFd } = options;
  const fd = Fd.borrow(kernel, number, `device fd ${number}`);
  const group = groupFd === undefined ? null : Group.borrow(kernel, groupFd);
  const container = containerFd === undefined ? null : Type1Container.borrow(kernel, containerFd);
  const label = `fd:${number}`;
  try {
    return new VfioDevice(kernel, {
      label,
      fd,
      group,
      container,
      sysfs: null,
      ownsGroup: false,
    });
  } catch (error) {
    // An unbound cdev answers EINVAL; any other file does not know the request.
    if (isErrno(error, "EBADF", "ENOTTY", "EINVAL")) {
      throw new UnsupportedError([notVfioDevice(number, error.code)], { cause: error });
    }
    throw error;
  }
}
