/**
 * The reasons why a device cannot be opened by its own character device, with
 * their stable codes, and what to do next.
 *
 * @module
 */

import { blocks } from "./reason_kinds.ts";
import type { SysfsDevice } from "../sysfs/sysfs.ts";
import type { Reason } from "./unsupported_error.ts";

/** `no-cdev`: the kernel makes no character devices of devices. */
export function noCdev({ name }: SysfsDevice): Reason {
  return blocks(
    "no-cdev",
    `${name} has no character device of its own`,
    "Linux has them from 6.6 on, if it is built with CONFIG_VFIO_DEVICE_CDEV; " +
      "without one a device is opened by its group",
    "open-by-group",
  );
}

/** `cdev-not-bound`: a character device that its owner has not bound to an iommufd. */
export function cdevNotBound(fd: number, path: string): Reason {
  return blocks(
    "cdev-not-bound",
    `fd ${fd} is ${path}, and not bound to an iommufd`,
    "Its owner must bind it (VFIO_DEVICE_BIND_IOMMUFD) before lending it; or name the device " +
      "itself, and it is opened here",
  );
}

/** `no-ioas`: only the device's own fd is known. */
export function noIoas(label: string): Reason {
  return blocks(
    "no-ioas",
    `The IOAS of ${label} is not known`,
    "Name its iommufd and the IOAS in it as well",
    "pass-ioas",
  );
}

/** `no-type1-container`: an IOAS does not track dirty pages. */
export function noType1Container(name: string): Reason {
  return blocks(
    "no-type1-container",
    `${name} is opened by its character device: it has no type1 container, and its iommufd ` +
      "does not track dirty pages by type1's calls (VFIO_IOMMU_DIRTY_PAGES: ENOTTY)",
    "Open it by its group for that, or take its own log",
    "open-by-group-or-log",
  );
}
