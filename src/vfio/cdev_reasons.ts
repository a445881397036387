/**
 * The reasons why a device cannot be opened by its own character device, with
 * their stable codes, and what to do next.
 *
 * @module
 */

import type { SysfsDevice } from "./sysfs.ts";
import type { Reason } from "./unsupported.ts";

function blocks(code: string, message: string, hint: string): Reason {
  return { code, message, hint, blocks: true };
}

/** `no-cdev`: the kernel makes no character devices of devices. */
export function noCdev({ name }: SysfsDevice): Reason {
  return blocks(
    "no-cdev",
    `${name} has no character device of its own`,
    "Linux has them from 6.6 on, where it is built with CONFIG_VFIO_DEVICE_CDEV; " +
      "without one a device is opened by its group (--via group)",
  );
}

/** `no-cdev-node`: the kernel has it, and /dev does not. */
export function noCdevNode(path: string): Reason {
  return blocks(
    "no-cdev-node",
    `There is no ${path}`,
    "In a container or chroot, pass /dev/vfio through, or open the device by its group " +
      "(--via group)",
  );
}

/** `no-iommufd`: /dev/iommu is missing. */
export function noIommufd(path: string): Reason {
  return blocks(
    "no-iommufd",
    `iommufd is not available: there is no ${path}`,
    "modprobe iommufd; in a container or chroot, pass it through; " +
      "without one a device is opened by its group (--via group)",
  );
}

/** `cdev-refused`: the kernel does not bind the device, or does not attach it. */
export function cdevRefused(name: string, what: string, code: string): Reason {
  return blocks(
    "cdev-refused",
    `${name} cannot be opened by its character device: ${what} answers ${code}`,
    "See the kernel's log, or open the device by its group (--via group)",
  );
}

/** `unsafe-interrupts`: the IOMMU does not remap interrupts. */
export function unsafeIommufdInterrupts(): Reason {
  return blocks(
    "unsafe-interrupts",
    "The IOMMU does not remap interrupts, so iommufd refuses to use it",
    "Turn interrupt remapping on; or, where every user of the device is trusted: " +
      "modprobe iommufd allow_unsafe_interrupts=1",
  );
}

/** `vf-token`: a token that cannot be given by the character device. */
export function noCdevToken(name: string): Reason {
  return blocks(
    "vf-token",
    `${name} does not take a VF token by its character device`,
    "Leave --vf-token out if it wants none. Linux takes it there from 6.17 on; before, it is " +
      "checked where the device is opened by its group (--via group)",
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
    "Name its iommufd and the IOAS in it as well: --iommufd-fd N --ioas ID",
  );
}

/** `no-type1-container`: an IOAS does not track dirty pages. */
export function noType1Container(name: string): Reason {
  return blocks(
    "no-type1-container",
    `${name} is opened by its character device: it has no type1 container, and its iommufd ` +
      "does not track dirty pages by type1's calls (VFIO_IOMMU_DIRTY_PAGES: ENOTTY)",
    "Open it by its group for that (--via group), or take its own log (--tracker device)",
  );
}
