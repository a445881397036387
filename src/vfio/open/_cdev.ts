/**
 * Opens a device by its own character device: binds it to an iommufd, and attaches it to an IOAS of
 * that iommufd.
 */

import { addCleanup, cleanedUp, cleanly, cleanlyThen, cleanupErrors } from "../../base/cleanup.ts";
import { Fd } from "../../kernel/fd.ts";
import {
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from "../../kernel/kernel.ts";
import {
  VFIO_DEVICE_BIND_FLAG_TOKEN,
  VFIO_DEVICE_BIND_IOMMUFD,
  vfioDeviceBindIommufd,
  vfioDeviceBindIommufdToken,
} from "../../uapi/mod.ts";
import { attach } from "../device/attach.ts";
import { exists } from "../reasons/evidence.ts";
import { ioctl } from "../ioctl.ts";
import { onceBound } from "./_once_bound.ts";
import { mayHelpOtherWay, opening, type Situation } from "./explain_opening.ts";
import { noCdev } from "../reasons/cdev_reasons.ts";
import { VfioDevice } from "../device/device.ts";
import { parseVfToken } from "./device_name.ts";
import { Ioas } from "../dma/ioas.ts";
import { Iommufd } from "../dma/iommufd.ts";
import { OpenError } from "./open_error.ts";
import type { OpenIommufd } from "./sharing.ts";
import type { SysfsDevice } from "../sysfs/sysfs.ts";
import { BusyError, type Reason, UnsupportedError } from "../reasons/unsupported_error.ts";

/**
 * Opens a device by its character device. Closing the device leaves what is shared open.
 *
 * @throws {UnsupportedError} If it cannot be opened this way.
 * @throws {BusyError} If another process has it, or its group, open.
 * @throws {OpenError} If it fails for another reason.
 * @throws {DeviceNameError} If the VF token is not a UUID.
 */
export function openByCdev(
  kernel: Kernel,
  sysfs: SysfsDevice,
  token: string | undefined,
  shared: OpenIommufd | null,
): VfioDevice {
  const { name, cdev } = sysfs;
  if (cdev === null) throw new UnsupportedError([noCdev(sysfs)]);
  const situation: Situation = {
    kernel,
    sysfs,
    device: name,
    group: sysfs.group?.number,
    token: token !== undefined,
    sharedSpace: shared?.ioas != null,
  };
  using opened = new DisposableStack();
  const iommufd = shared?.iommufd ?? opened.use(Iommufd.open(kernel, sysfs));
  const fd = opened.use(openNode(kernel, cdev, sysfs, situation));
  const id = opening("VFIO_DEVICE_BIND_IOMMUFD", { ...situation, path: cdev }, () => {
    try {
      // Its driver resets it as it is opened, for which it takes the device's lock.
      return onceBound(sysfs, ["EAGAIN"], () => bind(kernel, fd, iommufd, token));
    } catch (error) {
      // The explanation looks for processes that have the device open.
      throw cleanedUp(error, () => fd.close());
    }
  });
  const ioas = shared?.ioas ?? Ioas.allocate(iommufd);
  const closes = [
    ...(shared?.ioas === ioas ? [] : [ioas]),
    ...(shared?.iommufd === iommufd ? [] : [iommufd]),
  ];
  const binding = { id };
  const openAgain = (): Fd => {
    using opened = new DisposableStack();
    const again = opened.use(openNode(kernel, cdev, sysfs, situation));
    binding.id = bind(kernel, again, iommufd, token);
    attach(again, ioas.id);
    opened.move();
    return again;
  };
  try {
    opening("VFIO_DEVICE_ATTACH_IOMMUFD_PT", situation, () => attach(fd, ioas.id));
    const parts = { label: name, fd, group: null, container: null, ioas, binding, closes };
    const device = opening("VFIO_DEVICE_GET_INFO", situation, () =>
      new VfioDevice(kernel, {
        ...parts,
        sysfs,
        via: "cdev",
        whyNotCdev: null,
        openAgain: shared === null ? openAgain : undefined,
      }));
    opened.move();
    return device;
  } catch (error) {
    // The device first: an IOAS cannot be destroyed while one is attached.
    throw cleanedUp(error, () => {
      cleanlyThen(() => fd.close(), () => shared?.ioas === ioas || ioas.close());
    });
  }
}

/**
 * Opens a device by its character device, or by its group if the kernel lacks something of the
 * first way, or refuses for a reason that may not hold for the second.
 *
 * @throws What opening by the group throws, with the reasons of both failures if both are relevant.
 */
export function byCdevOrGroup(
  kernel: Kernel,
  sysfs: SysfsDevice,
  byCdev: () => VfioDevice,
  byGroup: (whyNotCdev: Reason) => VfioDevice,
): VfioDevice {
  try {
    return byCdev();
  } catch (error) {
    if (sysfs.cdev !== null && !mayHelpOtherWay(error)) throw error;
    if (!(error instanceof UnsupportedError || error instanceof OpenError)) throw error;
    return openInstead(error, isAmiss(kernel, error, sysfs), sysfs, byGroup);
  }
}

/** Whether something is wrong; false if the kernel just has no character devices, or no iommufd. */
function isAmiss(
  kernel: Kernel,
  { code }: UnsupportedError | OpenError,
  { cdev }: SysfsDevice,
): boolean {
  return cdev !== null && !(code === "no-iommufd" && exists(kernel, IOMMUFD_CLASS) !== true);
}

function openInstead(
  refusal: UnsupportedError | OpenError,
  amiss: boolean,
  { bus, group }: SysfsDevice,
  byGroup: (whyNotCdev: Reason) => VfioDevice,
): VfioDevice {
  // A mediated device needs no group.
  if (amiss && bus === "mdev" && group === null) throw refusal;
  try {
    return byGroup(refusal.reasons[0]!);
  } catch (error) {
    const failure = amiss ? ofBothWays(error, refusal) : error;
    for (const each of cleanupErrors(refusal)) addCleanup(failure, each);
    throw failure;
  }
}

/** The error of opening a device by its group, with the reasons against the other way. */
function ofBothWays(error: unknown, refusal: UnsupportedError | OpenError): unknown {
  const options = { cause: error };
  if (error instanceof BusyError) {
    return new BusyError(error.what, error.holders, options, refusal.reasons);
  }
  if (error instanceof OpenError) return new OpenError(both(error, refusal), options);
  if (error instanceof UnsupportedError) {
    return new UnsupportedError(both(error, refusal), options);
  }
  return error;
}

function both(
  { reasons }: { readonly reasons: readonly Reason[] },
  refusal: UnsupportedError | OpenError,
): Reason[] {
  const known = new Set(reasons.map(({ message }) => message));
  return [...reasons, ...refusal.reasons.filter(({ message }) => !known.has(message))];
}

/** Where sysfs shows /dev/iommu. */
const IOMMUFD_CLASS = "/sys/class/misc/iommu";

function openNode(kernel: Kernel, path: string, sysfs: SysfsDevice, situation: Situation): Fd {
  return opening("open cdev", { ...situation, path }, () => {
    const fd = onceBound(sysfs, ["ENOENT"], () => kernel.open(path, O_RDWR));
    return Fd.own(kernel, fd, `device ${sysfs.name}`);
  });
}

/** Binds a device to an iommufd; returns its id there. */
function bind(kernel: Kernel, fd: Fd, iommufd: Iommufd, token: string | undefined): number {
  const call = (argument: Uint8Array<ArrayBuffer>): number => {
    ioctl(fd, { VFIO_DEVICE_BIND_IOMMUFD }, argument);
    return vfioDeviceBindIommufd.unpack(argument).out_devid;
  };
  if (token === undefined) return call(vfioDeviceBindIommufd.pack({ iommufd: iommufd.fd.number }));
  const uuid = tokenBytes(token);
  return cleanly(() => {
    using memory = kernel.mmap(uuid.length, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    memory.write(0, uuid);
    return call(vfioDeviceBindIommufdToken.pack({
      flags: VFIO_DEVICE_BIND_FLAG_TOKEN,
      iommufd: iommufd.fd.number,
      token_uuid_ptr: memory.address,
    }));
  });
}

/** The 16 bytes of a UUID, in the order in which it is written. */
function tokenBytes(token: string): Uint8Array<ArrayBuffer> {
  const digits = parseVfToken(token).replaceAll("-", "");
  const bytes = new Uint8Array(new ArrayBuffer(digits.length / 2));
  return bytes.map((_, index) => Number.parseInt(digits.slice(2 * index, 2 * index + 2), 16));
}
