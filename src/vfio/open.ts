/**
 * Opening a device by name: by its own character device, or by its group and a
 * container, in the kernel's order.
 *
 * @module
 */

import { isErrno } from "../kernel/error.ts";
import { Fd } from "../kernel/fd.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { CdevRefusal, nodesOfGroup, openByCdev } from "./_cdev.ts";
import { onceBound } from "./_just_bound.ts";
import { variantDriver } from "./_variant_driver.ts";
import { cdevNotBound } from "./cdev_reasons.ts";
import { Type1Container } from "./container.ts";
import { type OpenWay, VfioDevice } from "./device.ts";
import { type DeviceName, formatDeviceName } from "./device_name.ts";
import { Group } from "./group.ts";
import { Ioas } from "./ioas.ts";
import { Iommufd } from "./iommufd.ts";
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
  cdevName,
  isVfioBound,
  readGroupDevices,
  readSysfsDevice,
  spoilsGroup,
  type SysfsDevice,
  sysfsPath,
} from "./sysfs.ts";
import { pathOfFd } from "./sysfs_of_fd.ts";
import { type Reason, UnsupportedError } from "./unsupported.ts";

/** How to open a device. */
export interface OpenVfioOptions {
  /** For a VF whose PF vfio-pci drives: the UUID that the PF's user chose. */
  readonly vfToken?: string | undefined;
  /** The fd of its group: for `fd:N`, and where the group is open already and has a container. */
  readonly groupFd?: number | undefined;
  /** The fd of its container, which goes with that of the group. */
  readonly containerFd?: number | undefined;
  /** The fd of its iommufd: for `fd:N`, and where a device of the group is bound to it already. */
  readonly iommufdFd?: number | undefined;
  /** The IOAS in that iommufd which the device is attached to, or is to be. */
  readonly ioasId?: number | undefined;
  /**
   * How to open it: by its own character device (`cdev`), which gives it an IOAS,
   * or by its `group`, which gives it a type1 container; `auto`, the default: by
   * the first where the kernel has it, else by the second.
   */
  readonly via?: OpenWay | "auto" | undefined;
}

/**
 * Opens a device, or borrows an open one (`fd:N`). Opening a PCI device may
 * reset it. What was opened on the way is closed where a later step fails.
 *
 * @param kernel Where it lives; for a `sim:` name a SimKernel, whose first device it is.
 * @throws {UnsupportedError} If there is no such device, or VFIO cannot open it: why, and what to do.
 * @throws {BusyError} If somebody has it, or its group, open.
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
    return openShared(kernel, sysfs, options) ?? openNamed(kernel, sysfs, options);
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
  return openInGroup(kernel, group, container, sysfs, options.vfToken, null, []);
}

/**
 * Opens one more device by its own character device, bound to an iommufd that
 * is open. Closing it leaves that open, and the IOAS.
 *
 * @param ioas What to attach it to, as Linux wants for devices of one IOMMU
 * group; null for an IOAS of its own, which is closed with it.
 * @throws {UnsupportedError} If it cannot be opened this way, or its VF token is missing or wrong.
 * @throws {BusyError} If somebody has it, or its group, open.
 * @throws {AnswerError} If the driver's answer cannot be true.
 * @throws {SysError} If the kernel refuses for another reason.
 */
export function openCdevDevice(
  kernel: Kernel,
  iommufd: Iommufd,
  ioas: Ioas | null,
  sysfs: SysfsDevice,
  options: Pick<OpenVfioOptions, "vfToken"> = {},
): VfioDevice {
  return openByCdev(kernel, sysfs, options.vfToken, { iommufd, ioas });
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

/** Opens a device in what is open already: a group, or an iommufd; null where none was given. */
function openShared(
  kernel: Kernel,
  sysfs: SysfsDevice,
  { groupFd, containerFd, iommufdFd, ioasId, vfToken }: OpenVfioOptions,
): VfioDevice | null {
  if (groupFd !== undefined && containerFd !== undefined) {
    const group = Group.borrow(kernel, groupFd);
    const container = Type1Container.borrow(kernel, containerFd);
    return openInGroup(kernel, group, container, sysfs, vfToken, null, []);
  }
  if (iommufdFd === undefined || ioasId === undefined) return null;
  const iommufd = Iommufd.borrow(kernel, iommufdFd);
  return openCdevDevice(kernel, iommufd, Ioas.borrow(iommufd, ioasId), sysfs, { vfToken });
}

function openNamed(
  kernel: Kernel,
  sysfs: SysfsDevice,
  { via = "auto", vfToken }: OpenVfioOptions,
): VfioDevice {
  if (sysfs.group === null) throw new UnsupportedError([noIommuGroup(sysfs)]);
  if (sysfs.group.noiommu) throw new UnsupportedError([noiommuGroup(sysfs)]);
  if (via === "group") return openByGroup(kernel, sysfs, vfToken, null);
  let refusal: CdevRefusal;
  try {
    return openByCdev(kernel, sysfs, vfToken, null);
  } catch (error) {
    if (via === "cdev" || !(error instanceof CdevRefusal)) throw error;
    refusal = error;
  }
  try {
    return openByGroup(kernel, sysfs, vfToken, refusal.reasons[0]!);
  } catch (error) {
    if (!refusal.amiss || !(error instanceof UnsupportedError)) throw error;
    throw new UnsupportedError([...error.reasons, ...refusal.reasons], { cause: error });
  }
}

function openByGroup(
  kernel: Kernel,
  sysfs: SysfsDevice,
  token: string | undefined,
  whyNotCdev: Reason | null,
): VfioDevice {
  const { number, path } = sysfs.group!;
  using opened = new DisposableStack();
  const container = opened.use(Type1Container.open(kernel));
  const group = opened.use(
    onceBound(sysfs, ["ENOENT"], () => Group.open(kernel, path, nodesOfGroup(kernel, sysfs))),
  );
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
  const closes = [group, container];
  const device = openInGroup(kernel, group, container, sysfs, token, whyNotCdev, closes);
  opened.move();
  return device;
}

function openInGroup(
  kernel: Kernel,
  group: Group,
  container: Type1Container,
  sysfs: SysfsDevice,
  token: string | undefined,
  whyNotCdev: Reason | null,
  closes: readonly Disposable[],
): VfioDevice {
  const { name } = sysfs;
  let fd: Fd;
  try {
    fd = onceBound(sysfs, ["ENODEV"], () => group.openDevice(name, token));
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
    const parts = { label: name, fd, group, container, ioas: null, sysfs, closes };
    return new VfioDevice(kernel, { ...parts, way: "group", whyNotCdev });
  } catch (error) {
    fd.close();
    throw error;
  }
}

function borrowDevice(kernel: Kernel, number: number, options: OpenVfioOptions): VfioDevice {
  const { groupFd, containerFd, iommufdFd, ioasId } = options;
  if ((iommufdFd === undefined) !== (ioasId === undefined)) {
    throw new TypeError("Cannot use an iommufd without the id of the IOAS, nor an id without it");
  }
  const fd = Fd.borrow(kernel, number, `device fd ${number}`);
  const path = pathOfFd(kernel, number);
  const ioas = iommufdFd === undefined || ioasId === undefined
    ? null
    : Ioas.borrow(Iommufd.borrow(kernel, iommufdFd), ioasId);
  try {
    return new VfioDevice(kernel, {
      label: `fd:${number}`,
      fd,
      group: groupFd === undefined ? null : Group.borrow(kernel, groupFd),
      container: containerFd === undefined ? null : Type1Container.borrow(kernel, containerFd),
      ioas,
      way: cdevName(path) !== null || ioas !== null
        ? "cdev"
        : path === GROUP_DEVICE || groupFd !== undefined || containerFd !== undefined
        ? "group"
        : null,
      whyNotCdev: null,
      sysfs: null,
      closes: [],
    });
  } catch (error) {
    if (isErrno(error, "EINVAL") && cdevName(path) !== null) {
      throw new UnsupportedError([cdevNotBound(number, path)], { cause: error });
    }
    // Any other file does not know the request.
    if (isErrno(error, "EBADF", "ENOTTY", "EINVAL")) {
      throw new UnsupportedError([notVfioDevice(number, error.code)], { cause: error });
    }
    throw error;
  }
}

/** What /proc calls a device that was opened out of its group. */
const GROUP_DEVICE = "anon_inode:[vfio-device]";
