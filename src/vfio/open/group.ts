/**
 * An IOMMU group: the smallest set of devices that user space can own.
 *
 * @module
 */

import { Fd } from "../../kernel/fd.ts";
import { type Kernel, O_RDWR } from "../../kernel/kernel.ts";
import {
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  vfioGroupStatus,
} from "../../uapi/mod.ts";
import { ioctl } from "../ioctl.ts";
import { opening } from "./explain_opening.ts";
import { parseVfToken } from "./device_name.ts";
import { groupNumberOf, type SysfsDevice } from "../sysfs/sysfs.ts";
import { pathOfFd } from "../sysfs/sysfs_of_fd.ts";

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
   * @param sysfs The device that it is opened for, if known; it makes errors more precise.
   * @throws {BusyError} If another process has it, or the node of one of its devices, open.
   * @throws {UnsupportedError} If there is no such node, or no permission for it.
   * @throws {OpenError} If it fails for another reason.
   */
  static open(kernel: Kernel, path: string, sysfs?: SysfsDevice): Group {
    const group = groupNumberOf(path);
    const fd = opening(
      "open group",
      { kernel, path, group, sysfs },
      () => kernel.open(path, O_RDWR),
    );
    return new Group(kernel, Fd.own(kernel, fd, `group ${path}`), group);
  }

  /** Uses a group that the caller owns and closes. */
  static borrow(kernel: Kernel, fd: number): Group {
    // Without /proc the number stays unknown; nothing depends on it.
    const path = pathOfFd(kernel, fd);
    return new Group(kernel, Fd.borrow(kernel, fd, `group fd ${fd}`), groupNumberOf(path));
  }

  /**
   * Reads the status.
   *
   * @throws {UnsupportedError} If the group's last device was unbound, or the fd is no group's.
   * @throws {OpenError} If it fails for another reason.
   */
  status(): GroupStatus {
    const answer = vfioGroupStatus.pack({});
    opening("VFIO_GROUP_GET_STATUS", { kernel: this.#kernel, group: this.number }, () => {
      ioctl(this.fd, { VFIO_GROUP_GET_STATUS }, answer);
    });
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
   * @throws {UnsupportedError} If the group has no such device, wants another token, or its driver
   * does not open it.
   * @throws {OpenError} If it fails for another reason, such as a device that does not answer.
   */
  openDevice(name: string, vfToken?: string): Fd {
    const kernel = this.#kernel;
    const argument = vfToken === undefined ? name : `${name} vf_token=${parseVfToken(vfToken)}`;
    const bytes = new TextEncoder().encode(`${argument}\0`);
    const fd = opening(
      "VFIO_GROUP_GET_DEVICE_FD",
      {
        kernel,
        group: this.number,
        device: name,
        token: vfToken !== undefined,
        hasContainer: () => inContainer(this),
      },
      () => ioctl(this.fd, { VFIO_GROUP_GET_DEVICE_FD }, bytes),
    );
    return Fd.own(kernel, fd, `device ${name}`);
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

/** Whether a group is in a container; null if that cannot be asked. */
export function inContainer(group: Group): boolean | null {
  try {
    return group.status().containerSet;
  } catch {
    return null;
  }
}
