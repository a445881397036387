/**
 * Opening a device by its own character device: it is bound to an iommufd, and
 * attached to an IOAS of it.
 */

import { isErrno, SysError } from "../kernel/error.ts";
import { Fd } from "../kernel/fd.ts";
import {
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from "../kernel/kernel.ts";
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_FLAG_TOKEN,
  VFIO_DEVICE_BIND_IOMMUFD,
  vfioDeviceAttachIommufdPt,
  vfioDeviceBindIommufd,
  vfioDeviceBindIommufdToken,
} from "../uapi/mod.ts";
import { ioctl } from "./_ioctl.ts";
import { onceBound } from "./_just_bound.ts";
import {
  cdevRefused,
  noCdev,
  noCdevNode,
  noCdevToken,
  unsafeIommufdInterrupts,
} from "./cdev_reasons.ts";
import { VfioDevice } from "./device.ts";
import { parseVfToken } from "./device_name.ts";
import { findHolders } from "./holders.ts";
import { Ioas } from "./ioas.ts";
import { Iommufd } from "./iommufd.ts";
import { groupNotViable, noPermission, vfToken } from "./reasons.ts";
import { readGroupDevices, spoilsGroup, type SysfsDevice } from "./sysfs.ts";
import { BusyError, type Reason, UnsupportedError } from "./unsupported.ts";

/** That a device cannot be opened this way; by its group it perhaps can. */
export class CdevRefusal extends UnsupportedError {
  /** Whether it tells of something amiss; else the kernel just has no such way. */
  readonly amiss: boolean;

  constructor(reason: Reason, amiss: boolean, cause?: unknown) {
    super([reason], { cause });
    this.amiss = amiss;
  }
}

/** What a device opened before has that this one is to share. */
export interface Shared {
  /** Its iommufd. */
  readonly iommufd: Iommufd;
  /** Its IOAS, where both are in one IOMMU group: Linux gives a group one. */
  readonly ioas: Ioas | null;
}

/**
 * Opens a device by its character device. What is shared stays open when it
 * is closed.
 *
 * @throws {CdevRefusal} If it cannot be opened this way, but perhaps by its group.
 * @throws {BusyError} If somebody has it, or its group, open.
 * @throws {UnsupportedError} If it wants a VF token, or another one.
 * @throws {DeviceNameError} If the VF token is not a UUID.
 */
export function openByCdev(
  kernel: Kernel,
  sysfs: SysfsDevice,
  token: string | undefined,
  shared: Shared | null,
): VfioDevice {
  const { name, cdev } = sysfs;
  if (cdev === null) throw new CdevRefusal(noCdev(sysfs), false);
  using opened = new DisposableStack();
  const iommufd = shared?.iommufd ?? opened.use(openIommufd(kernel));
  const fd = opened.use(openNode(kernel, cdev, sysfs));
  try {
    bind(kernel, fd, iommufd, token);
  } catch (error) {
    // Closed first: else it would be found among those that hold the device.
    fd.close();
    throw explainBind(kernel, sysfs, token, error);
  }
  const ioas = shared?.ioas ?? Ioas.allocate(iommufd);
  const closes = [
    ...(shared?.ioas === ioas ? [] : [ioas]),
    ...(shared?.iommufd === iommufd ? [] : [iommufd]),
  ];
  try {
    attach(kernel, fd, name, ioas);
    const parts = { label: name, fd, group: null, container: null, ioas, closes };
    const device = new VfioDevice(kernel, { ...parts, sysfs, way: "cdev", whyNotCdev: null });
    opened.move();
    return device;
  } catch (error) {
    fd.close();
    if (shared?.ioas !== ioas) ioas.close();
    throw error;
  }
}

function openIommufd(kernel: Kernel): Iommufd {
  try {
    return Iommufd.open(kernel);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    const [reason] = error.reasons;
    throw new CdevRefusal(reason!, reason!.code === "no-permission", error);
  }
}

function openNode(kernel: Kernel, path: string, sysfs: SysfsDevice): Fd {
  try {
    const fd = onceBound(sysfs, ["ENOENT"], () => kernel.open(path, O_RDWR));
    return Fd.own(kernel, fd, `device ${sysfs.name}`);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV", "ENXIO")) {
      throw new CdevRefusal(noCdevNode(path), true, error);
    }
    if (isErrno(error, "EACCES", "EPERM")) {
      throw new CdevRefusal(noPermission(path, error.code), true, error);
    }
    throw error;
  }
}

function bind(kernel: Kernel, fd: Fd, iommufd: Iommufd, token: string | undefined): void {
  const call = (argument: Uint8Array<ArrayBuffer>): void => {
    ioctl(kernel, fd, "VFIO_DEVICE_BIND_IOMMUFD", VFIO_DEVICE_BIND_IOMMUFD, argument);
  };
  if (token === undefined) {
    call(vfioDeviceBindIommufd.pack({ iommufd: iommufd.fd.number }));
    return;
  }
  const uuid = tokenBytes(token);
  using memory = kernel.mmap(uuid.length, {
    prot: PROT_READ | PROT_WRITE,
    flags: MAP_PRIVATE | MAP_ANONYMOUS,
  });
  memory.write(0, uuid);
  call(vfioDeviceBindIommufdToken.pack({
    flags: VFIO_DEVICE_BIND_FLAG_TOKEN,
    iommufd: iommufd.fd.number,
    token_uuid_ptr: memory.address,
  }));
}

/** The 16 bytes of a UUID, in the order in which it is written. */
function tokenBytes(token: string): Uint8Array<ArrayBuffer> {
  const digits = parseVfToken(token).replaceAll("-", "");
  const bytes = new Uint8Array(new ArrayBuffer(digits.length / 2));
  return bytes.map((_, index) => Number.parseInt(digits.slice(2 * index, 2 * index + 2), 16));
}

function attach(kernel: Kernel, fd: Fd, name: string, ioas: Ioas): void {
  const request = "VFIO_DEVICE_ATTACH_IOMMUFD_PT";
  try {
    const argument = vfioDeviceAttachIommufdPt.pack({ pt_id: ioas.id });
    ioctl(kernel, fd, request, VFIO_DEVICE_ATTACH_IOMMUFD_PT, argument);
  } catch (error) {
    if (!isErrno(error, "EINVAL", "ENODEV", "EOPNOTSUPP", "EADDRINUSE")) throw error;
    throw new CdevRefusal(cdevRefused(name, request, error.code), true, error);
  }
}

/** The node of each device of a group, and the group's own: who has one keeps the others off. */
export function nodesOfGroup(kernel: Kernel, sysfs: SysfsDevice): string[] {
  if (sysfs.group === null) return [];
  const { number, path } = sysfs.group;
  return [path, ...readGroupDevices(kernel, number).flatMap(({ cdev }) => cdev ?? [])];
}

function explainBind(
  kernel: Kernel,
  sysfs: SysfsDevice,
  token: string | undefined,
  error: unknown,
): unknown {
  if (!(error instanceof SysError)) return error;
  const { name, cdev, group } = sysfs;
  const { code } = error;
  const busyWith = (nodes: readonly string[]): BusyError | null => {
    const holders = findHolders(kernel, nodes);
    if (holders.length === 0 && code !== "EBUSY") return null;
    return new BusyError(`device ${cdev}`, holders, { cause: error });
  };
  const refusal = (reason: Reason): CdevRefusal => new CdevRefusal(reason, true, error);
  switch (code) {
    case "EBUSY":
      return busyWith(nodesOfGroup(kernel, sysfs));
    case "EACCES":
      return new UnsupportedError([vfToken(name, token !== undefined, code)], { cause: error });
    case "EPERM": {
      const devices = group === null ? [] : readGroupDevices(kernel, group.number);
      if (devices.some(spoilsGroup)) return refusal(groupNotViable(group!.number, devices));
      // A device of the group that is bound to another iommufd.
      return busyWith(nodesOfGroup(kernel, sysfs)) ?? refusal(unsafeIommufdInterrupts());
    }
    case "EINVAL":
      // So Linux calls a device that is open by another fd of its node.
      return busyWith([cdev!]) ??
        refusal(
          token === undefined
            ? cdevRefused(name, "VFIO_DEVICE_BIND_IOMMUFD", code)
            : noCdevToken(name),
        );
    case "ENODEV":
    case "ENOTTY":
      return refusal(cdevRefused(name, "VFIO_DEVICE_BIND_IOMMUFD", code));
    default:
      return error;
  }
}
