/**
 * The iommufd: /dev/iommu, which holds address spaces for devices.
 *
 * @module
 */

import { Fd } from "../../kernel/fd.ts";
import { type Kernel, O_RDWR } from "../../kernel/kernel.ts";
import { IOMMU_DESTROY, IOMMU_IOAS_ALLOC, iommuDestroy, iommuIoasAlloc } from "../../uapi/mod.ts";
import { ioctl } from "../ioctl.ts";
import { opening } from "../open/explain_opening.ts";
import type { SysfsDevice } from "../sysfs/sysfs.ts";

/** Its character device. */
export const IOMMUFD_PATH = "/dev/iommu";

/** An open iommufd. Its objects, such as address spaces, exist as long as it is open. */
export class Iommufd implements Disposable {
  /** The kernel that the iommufd is in. */
  readonly kernel: Kernel;
  /** Its fd. */
  readonly fd: Fd;

  private constructor(kernel: Kernel, fd: Fd) {
    this.kernel = kernel;
    this.fd = fd;
  }

  /**
   * Opens a new, empty iommufd.
   *
   * @param sysfs The device that it is opened for, if known; it makes errors more precise.
   * @throws {UnsupportedError} If the kernel has no iommufd, or the caller no permission.
   * @throws {OpenError} If it fails for another reason.
   */
  static open(kernel: Kernel, sysfs?: SysfsDevice): Iommufd {
    const path = IOMMUFD_PATH;
    const fd = opening("open iommufd", { kernel, path, sysfs }, () => kernel.open(path, O_RDWR));
    return new Iommufd(kernel, Fd.own(kernel, fd, `iommufd ${path}`));
  }

  /** Uses an iommufd that the caller owns and closes. */
  static borrow(kernel: Kernel, fd: number): Iommufd {
    return new Iommufd(kernel, Fd.borrow(kernel, fd, `iommufd fd ${fd}`));
  }

  /**
   * Allocates an address space (IOMMU_IOAS_ALLOC).
   *
   * @returns Its id.
   * @throws {UnsupportedError} If the fd is not an iommufd.
   * @throws {OpenError} If it fails for another reason.
   */
  allocateIoas(): number {
    const argument = iommuIoasAlloc.pack({});
    opening("IOMMU_IOAS_ALLOC", { kernel: this.kernel }, () => {
      ioctl(this.fd, { IOMMU_IOAS_ALLOC }, argument);
    });
    return iommuIoasAlloc.unpack(argument).out_ioas_id;
  }

  /**
   * Destroys one of its objects (IOMMU_DESTROY).
   *
   * @throws {SysError} EBUSY while a device is attached to the object; ENOENT if there is no such
   * object.
   */
  destroy(id: number): void {
    ioctl(this.fd, { IOMMU_DESTROY }, iommuDestroy.pack({ id }));
  }

  /** Closes the iommufd if it is owned. Closing again does nothing. */
  close(): void {
    this.fd.close();
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
