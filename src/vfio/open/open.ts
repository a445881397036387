/**
 * Opening a device by name: by its own character device, or by its group and a
 * container, in the kernel's order.
 *
 * @module
 */

import { cleanedUp, cleanly } from "../../base/cleanup.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import { Fd } from "../../kernel/fd.ts";
import { type Kernel, O_RDWR } from "../../kernel/kernel.ts";
import { byCdevOrGroup, openByCdev } from "./_cdev.ts";
import { firmwareRegions } from "../reasons/evidence.ts";
import { groupMembers } from "../reasons/group_viability.ts";
import { onceBound } from "./_once_bound.ts";
import { hasSince, kernelRelease } from "../reasons/kernel_release.ts";
import { missingNodes } from "../reasons/missing_nodes.ts";
import { explainOpening, opening } from "./explain_opening.ts";
import { variantDriver } from "../sysfs/variant_driver.ts";
import { cdevNotBound } from "../reasons/cdev_reasons.ts";
import { Type1Container } from "../dma/container.ts";
import { type OpenVia, VfioDevice } from "../device/device.ts";
import type { DeviceName } from "./device_name.ts";
import { absence, findDevice } from "./find_device.ts";
import { bridge, notBound } from "../reasons/driver_reasons.ts";
import { Group } from "./group.ts";
import { Ioas } from "../dma/ioas.ts";
import { Iommufd } from "../dma/iommufd.ts";
import { nameIn } from "./kernel_for.ts";
import type { GroupInContainer, SharedParts } from "./sharing.ts";
import {
  firmwareRegion,
  groupNotViable,
  groupPerhapsNotViable,
  noIommuGroup,
  noiommuGroup,
  notVfioDevice,
} from "../reasons/reasons.ts";
import { bridgeKind } from "../sysfs/pci_header.ts";
import { cdevName, isVfioBound, type SysfsDevice } from "../sysfs/sysfs.ts";
import { pathOfFd } from "../sysfs/sysfs_of_fd.ts";
import { type Reason, UnsupportedError } from "../reasons/unsupported_error.ts";

/** How to open a device. */
export interface OpenVfioOptions {
  /** For a VF whose PF vfio-pci drives: the UUID that the PF's user chose. */
  readonly vfToken?: string | undefined;
  /** The fd of its group: for `fd:N`, and if the group is already open and has a container. */
  readonly groupFd?: number | undefined;
  /** The fd of its container, which goes with that of the group. */
  readonly containerFd?: number | undefined;
  /** The fd of its iommufd: for `fd:N`, and if a device of the group is already bound to it. */
  readonly iommufdFd?: number | undefined;
  /** The IOAS in that iommufd which the device is attached to, or is to be. */
  readonly ioasId?: number | undefined;
  /**
   * How to open it: by its own character device (`cdev`), which gives it an IOAS,
   * or by its `group`, which gives it a type1 container; `auto`, the default: by
   * the first if the kernel has it, else by the second.
   */
  readonly via?: OpenVia | "auto" | undefined;
}

/**
 * Opens a device, or borrows an open one (`fd:N`). Opening a PCI device may reset it. If a step
 * fails, everything that was opened before is closed.
 *
 * @param kernel Where it lives; for a `sim:` name a SimKernel, whose first device it is.
 * @throws {UnsupportedError} If there is no such device, or VFIO cannot open it: why, and what to do.
 * @throws {BusyError} If another process has it, or its group, open.
 * @throws {DeviceNameError} If the name is that of a group, or the VF token is not a UUID.
 * @throws {AnswerError} If the driver's answer cannot be true.
 * @throws {OpenError} If it fails this time: the process or the machine lacks something.
 *
 * @example
 * ```ts
 * import { openVfioDevice, parseDeviceName } from "vfiokit/vfio";
 * import { kernelFor } from "./kernel_for.ts";
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
  return openWith(kernel, name, options, partsOfFds(kernel, options));
}

/**
 * Opens a device in what is open already: one more device of a group that has a container, or one
 * more that is bound to an iommufd. Closing it leaves both open. If it is given an iommufd without
 * an IOAS, it may be opened either way.
 *
 * @param shared What is open; not for a borrowed device, which has its own.
 * @throws What {@linkcode openVfioDevice} throws.
 */
export function openWith(
  kernel: Kernel,
  name: DeviceName,
  options: OpenVfioOptions,
  shared: SharedParts | null,
): VfioDevice {
  const own = nameIn(kernel, name);
  if (own.kind === "fd") return borrowDevice(kernel, own.fd, options);
  if (own.kind === "vfio-user") {
    const device = openServed(kernel, own, options, shared);
    // Its lender keeps it open.
    if (name.kind === "fd") device.borrow();
    return device;
  }
  return openFound(kernel, name, options, shared);
}

/** Opens a device whose server shows what it is only when it is connected to. */
function openServed(
  kernel: Kernel,
  name: DeviceName & { readonly kind: "vfio-user" },
  options: OpenVfioOptions,
  shared: SharedParts | null,
): VfioDevice {
  const { path } = name;
  return cleanly(() => {
    // The device's own node is the same file: it stays open when this fd is closed.
    using _connected = opening(
      "connect",
      { kernel, path },
      () => Fd.own(kernel, kernel.open(path, O_RDWR), `server ${path}`),
    );
    return openFound(kernel, name, options, shared);
  });
}

function openFound(
  kernel: Kernel,
  name: DeviceName,
  options: OpenVfioOptions,
  shared: SharedParts | null,
): VfioDevice {
  const sysfs = findDevice(kernel, name);
  if (sysfs === null) throw new UnsupportedError([absence(kernel, name)]);
  try {
    return openIn(kernel, sysfs, options, shared);
  } catch (error) {
    // Whatever failed, an unbound device is the first thing to fix.
    if (!(error instanceof UnsupportedError) || isVfioBound(sysfs)) throw error;
    const reasons = sysfsReasons(kernel, sysfs).filter(({ blocks }) => blocks);
    throw new UnsupportedError(reasons, { cause: error });
  }
}

/** The reasons against opening a device that sysfs alone shows. */
export function sysfsReasons(kernel: Kernel, sysfs: SysfsDevice): Reason[] {
  const bridged = isVfioBound(sysfs) ? null : bridgeKind(kernel, sysfs);
  if (bridged !== null) return [bridge(sysfs, bridged)];
  const bound = isVfioBound(sysfs) ? [] : [notBound(sysfs, variantDriver(kernel, sysfs))];
  // VFIO makes no nodes for an unbound device, and no group for an unbound mdev.
  const nodes = bound.length > 0 ? [] : missingNodes(kernel, sysfs);
  if (bound.length > 0 && sysfs.bus === "mdev") return bound;
  const noGroup = groupless(sysfs);
  // A device without a group, or in one without an IOMMU, can still have its own character device.
  if (noGroup !== null || sysfs.group === null) {
    return sysfs.cdev === null && noGroup !== null ? [...bound, noGroup] : [...bound, ...nodes];
  }
  const { number } = sysfs.group;
  const others = (groupMembers(kernel, number) ?? [])
    .filter(({ device }) => device.path !== sysfs.path);
  const viability = others.some(({ holds }) => holds === true)
    ? [groupNotViable(number, others)]
    : others.some(({ holds }) => holds === null)
    ? [groupPerhapsNotViable(number, others)]
    : [];
  const regions = firmwareRegions(kernel, number) ?? [];
  const kept = regions.length > 0 ? [firmwareRegion(number, regions)] : [];
  // Before 6.6 only Intel's IOMMU kept such a device back.
  const refused = hasSince(kernelRelease(kernel), 6, 6) === true;
  return [...bound, ...nodes, ...viability, ...kept.map((one) => ({ ...one, blocks: refused }))];
}

/** Why a device cannot be opened by its group; null if it can. */
function groupless(sysfs: SysfsDevice): Reason | null {
  if (sysfs.group === null) return noIommuGroup(sysfs);
  return sysfs.group.noiommu ? noiommuGroup(sysfs) : null;
}

/** What the caller has open already, by its fds; null if none was given. */
function partsOfFds(
  kernel: Kernel,
  { groupFd, containerFd, iommufdFd, ioasId }: OpenVfioOptions,
): SharedParts | null {
  if (groupFd !== undefined && containerFd !== undefined) {
    return {
      group: Group.borrow(kernel, groupFd),
      container: Type1Container.borrow(kernel, containerFd),
    };
  }
  if (iommufdFd === undefined || ioasId === undefined) return null;
  const iommufd = Iommufd.borrow(kernel, iommufdFd);
  return { iommufd, ioas: Ioas.borrow(iommufd, ioasId) };
}

function openIn(
  kernel: Kernel,
  sysfs: SysfsDevice,
  { via = "auto", vfToken }: Pick<OpenVfioOptions, "vfToken" | "via">,
  shared: SharedParts | null,
): VfioDevice {
  if (shared !== null && "group" in shared) {
    return openInGroup(kernel, sysfs, shared, { vfToken, whyNotCdev: null, closes: [] });
  }
  const byGroup = (why: Reason | null): VfioDevice =>
    cleanly(() => openByGroup(kernel, sysfs, vfToken, why));
  const byCdev = (): VfioDevice => cleanly(() => openByCdev(kernel, sysfs, vfToken, shared));
  // A group whose device has an IOAS is in use, so there is no other way.
  if (shared !== null && shared.ioas !== null) return byCdev();
  switch (via) {
    case "group":
      return byGroup(null);
    case "cdev":
      return byCdev();
    case "auto":
      return byCdevOrGroup(kernel, sysfs, byCdev, byGroup);
  }
}

function openByGroup(
  kernel: Kernel,
  sysfs: SysfsDevice,
  token: string | undefined,
  whyNotCdev: Reason | null,
): VfioDevice {
  const noGroup = groupless(sysfs);
  if (noGroup !== null || sysfs.group === null) {
    throw new UnsupportedError([noGroup ?? noIommuGroup(sysfs)]);
  }
  const { number, path } = sysfs.group;
  using opened = new DisposableStack();
  const container = opened.use(Type1Container.open(kernel, sysfs));
  const group = opened.use(onceBound(sysfs, ["ENOENT"], () => Group.open(kernel, path, sysfs)));
  if (!group.status().viable) {
    throw new UnsupportedError([groupNotViable(number, groupMembers(kernel, number))]);
  }
  container.attach(group);
  const closes = [group, container];
  const device = openInGroup(kernel, sysfs, { group, container }, {
    vfToken: token,
    whyNotCdev,
    closes,
  });
  opened.move();
  return device;
}

function openInGroup(
  kernel: Kernel,
  sysfs: SysfsDevice,
  { group, container }: GroupInContainer,
  { vfToken, whyNotCdev, closes }: {
    readonly vfToken: string | undefined;
    readonly whyNotCdev: Reason | null;
    /** What is closed with the device. */
    readonly closes: readonly Disposable[];
  },
): VfioDevice {
  const { name } = sysfs;
  const open = (): Fd => group.openDevice(name, vfToken);
  const fd = onceBound(sysfs, ["ENODEV", "EAGAIN"], open);
  try {
    const parts = { label: name, fd, group, container, ioas: null, sysfs, closes };
    const openAgain = closes.length > 0 ? open : undefined;
    return opening(
      "VFIO_DEVICE_GET_INFO",
      { kernel, sysfs, group: group.number },
      () => new VfioDevice(kernel, { ...parts, via: "group", whyNotCdev, openAgain }),
    );
  } catch (error) {
    throw cleanedUp(error, () => fd.close());
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
      via: cdevName(path) !== null || ioas !== null
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
    if (!(error instanceof SysError)) throw error;
    throw explainOpening("VFIO_DEVICE_GET_INFO", error, { kernel });
  }
}

/** The name in /proc of a device fd that was opened by its group. */
const GROUP_DEVICE = "anon_inode:[vfio-device]";
