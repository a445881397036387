/**
 * An IOMMU group: what user space gets or does not get as a whole.
 *
 * @module
 */

import { isErrno } from "../kernel/error.ts";
import { Fd } from "../kernel/fd.ts";
import { type Kernel, O_RDWR } from "../kernel/kernel.ts";
import {
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  vfioGroupStatus,
} from "../uapi/mod.ts";
import { ioctl } from "./_ioctl.ts";
import { parseVfToken } from "./device_name.ts";
import { findHolders } from "./holders.ts";
import { noGroupNode, noPermission } from "./reasons.ts";
import { groupNumberOf } from "./sysfs.ts";
import { pathOfFd } from "./sysfs_of_fd.ts";
import { BusyError, UnsupportedError } from "./unsupported.ts";

/** What VFIO_GROUP_GET_STATUS answers. */
export interface GroupStatus {
  /** Whether no driver but VFIO's holds a device of the group. */
  readonly viable: boolean;
  /** Whether it has a container. */
  readonly containerSet: boolean;
}

/** An open group. It may yield any number of its devices. */
export class Group implements Disposable {
  /** The group's fd. */
  readonly fd: Fd;
  /** The group's number; null for a borrowed fd that does not tell. */
  readonly number: number | null;
  readonly #kernel: Kernel;

  private constructor(kernel: Kernel, fd: Fd, number: number | null) {
    this.#kernel = kernel;
    this.fd = fd;
    this.number = number;
  }

  /**
   * Opens a group.
   *
   * @param path Its character device, such as `/dev/vfio/12`.
   * @param alsoHeldBy Other paths whose openers keep the group busy (the devices' own nodes).
   * @throws {BusyError} If somebody has it open; a group can be open once.
   * @throws {UnsupportedError} If there is no such node, or no permission for it.
   * @throws {SysError} If it fails for another reason.
   */
  static open(kernel: Kernel, path: string, alsoHeldBy: readonly string[] = []): Group {
    let fd: number;
    try {
      fd = kernel.open(path, O_RDWR);
    } catch (error) {
      if (isErrno(error, "EBUSY")) {
        const holders = findHolders(kernel, [path, ...alsoHeldBy]);
        throw new BusyError(`group ${path}`, holders, { cause: error });
      }
      if (isErrno(error, "EACCES", "EPERM")) {
        throw new UnsupportedError([noPermission(path, error.code)], { cause: error });
      }
      if (isErrno(error, "ENOENT", "ENODEV", "ENXIO")) {
        throw new UnsupportedError([noGroupNode(path)], { cause: error });
      }
      throw error;
    }
    return new Group(kernel, Fd.own(kernel, fd, `group ${path}`), groupNumberOf(path));
  }

  /** Uses a group that somebody else opened, and will close. */
  static borrow(kernel: Kernel, fd: number): Group {
    // Without /proc the number stays unknown; nothing depends on it.
    const path = pathOfFd(kernel, fd);
    return new Group(kernel, Fd.borrow(kernel, fd, `group fd ${fd}`), groupNumberOf(path));
  }

  /**
   * Reads the status.
   *
   * @throws {SysError} If the ioctl fails.
   */
  status(): GroupStatus {
    const answer = vfioGroupStatus.pack({});
    ioctl(this.#kernel, this.fd, "VFIO_GROUP_GET_STATUS", VFIO_GROUP_GET_STATUS, answer);
    const { flags } = vfioGroupStatus.unpack(answer);
    return {
      viable: (flags & VFIO_GROUP_FLAGS_VIABLE) !== 0,
      containerSet: (flags & VFIO_GROUP_FLAGS_CONTAINER_SET) !== 0,
    };
  }

  /**
   * Opens one of the group's devices; opening a PCI device may reset it. The
   * group must have a container with an IOMMU.
   *
   * @param name The device's name on its bus, as in the group's sysfs folder.
   * @param vfToken For a VF whose PF vfio-pci drives: the UUID that the PF's user chose.
   * @throws {DeviceNameError} If the token is not a UUID.
   * @throws {SysError} If the ioctl fails: ENODEV where the group has no such device.
   */
  openDevice(name: string, vfToken?: string): Fd {
    const argument = vfToken === undefined ? name : `${name} vf_token=${parseVfToken(vfToken)}`;
    const fd = ioctl(
      this.#kernel,
      this.fd,
      "VFIO_GROUP_GET_DEVICE_FD",
      VFIO_GROUP_GET_DEVICE_FD,
      new TextEncoder().encode(`${argument}\0`),
    );
    return Fd.own(this.#kernel, fd, `device ${name}`);
  }

  /** Closes what is owned. Closing again does nothing. */
  close(): void {
    this.fd.close();
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
