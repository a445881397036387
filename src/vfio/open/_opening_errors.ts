/**
 * Every call that opens a device, and the causes of each errno that Linux returns there: one table.
 * If an errno has several causes, they are looked for in this order (causes/).
 *
 * Read from drivers/vfio (container.c, group.c, device_cdev.c, vfio_main.c, vfio_iommu_type1.c,
 * pci/vfio_pci_core.c), drivers/iommu/iommu.c and drivers/iommu/iommufd of Linux 6.12; what differs
 * other releases is noted with the cause.
 */

import type { ErrnoName } from "../../kernel/errno_names.ts";
import type { CauseName } from "./causes/mod.ts";
import type { OpeningCall } from "./opening_call.ts";

/** What the errnos of one call mean. */
export type ErrnoCauses = Readonly<Partial<Record<ErrnoName, readonly CauseName[]>>>;

/** Any call may be short of these. */
const SHORT: ErrnoCauses = {
  ENOMEM: ["no-memory"],
  EMFILE: ["no-fds"],
  ENFILE: ["no-files"],
};

/** A node of /dev, but for its absence. */
const NODE: ErrnoCauses = {
  ...SHORT,
  EACCES: ["no-permission"],
  EPERM: ["device-cgroup"],
};

/** The file does not know the request: it is another node, or the kernel is older. */
const WRONG_FILE: ErrnoCauses = {
  EBADF: ["wrong-file"],
  ENOTTY: ["wrong-file"],
  EINVAL: ["wrong-file"],
};

/** What a device's server may do, and not its driver. */
const SERVER: ErrnoCauses = {
  ECONNRESET: ["server-gone"],
  ETIMEDOUT: ["server-silent"],
  EPROTO: ["not-vfio-user"],
};

/** What opening the device itself, the last thing that BIND and GET_DEVICE_FD do, may meet. */
const DRIVER: ErrnoCauses = {
  ...SHORT,
  EIO: ["no-power"],
  EAGAIN: ["reset-locked"],
  ETIMEDOUT: ["no-power"],
};

/** The table. */
export const OPENING_ERRORS: Readonly<Record<OpeningCall, ErrnoCauses>> = {
  "read sysfs": {
    ...SHORT,
    EACCES: ["sysfs-unreadable"],
    EPERM: ["sysfs-unreadable"],
    EIO: ["sysfs-broken"],
    ELOOP: ["bad-path"],
    ENAMETOOLONG: ["bad-path"],
  },
  "connect": {
    ...SHORT,
    ...SERVER,
    ENOENT: ["no-socket"],
    ENOTDIR: ["no-socket"],
    ENAMETOOLONG: ["bad-socket-path"],
    ECONNREFUSED: ["no-server"],
    EPROTOTYPE: ["no-server"],
    EACCES: ["no-permission"],
    EAGAIN: ["server-silent"],
    EINVAL: ["not-vfio-user"],
  },
  "open container": {
    ...NODE,
    ENOENT: ["no-container-node"],
    ENODEV: ["no-container-node"],
    ENXIO: ["no-container-node"],
  },
  "open group": {
    ...NODE,
    ENOENT: ["no-group-node"],
    ENODEV: ["no-group-node"],
    ENXIO: ["no-group-node"],
    EBUSY: ["group-in-use"],
    EPERM: ["noiommu-rights", "device-cgroup"],
  },
  "open cdev": {
    ...NODE,
    // A device that was reached by a socket is opened again.
    ...SERVER,
    ECONNREFUSED: ["no-server"],
    EAGAIN: ["server-silent"],
    ENOENT: ["no-cdev-node"],
    ENODEV: ["no-cdev-node"],
    ENXIO: ["no-cdev-node"],
  },
  "open iommufd": {
    ...NODE,
    ENOENT: ["no-iommufd-node"],
    ENODEV: ["no-iommufd-node"],
    ENXIO: ["no-iommufd-node"],
  },
  "VFIO_GET_API_VERSION": { ...SHORT, ...WRONG_FILE },
  "VFIO_CHECK_EXTENSION": { ...SHORT, ...WRONG_FILE },
  "VFIO_GROUP_GET_STATUS": { ...SHORT, ...WRONG_FILE, ENODEV: ["group-gone"] },
  "VFIO_GROUP_SET_CONTAINER": {
    ...SHORT,
    EBADF: ["wrong-file"],
    EBADFD: ["wrong-file"],
    ENOTTY: ["wrong-file"],
    ENODEV: ["group-gone"],
    EPERM: ["not-viable", "firmware-region", "unsafe-interrupts"],
    EBUSY: ["dma-in-use", "memory-suspended"],
    EINVAL: ["group-has-container", "firmware-region", "other-space"],
    EOPNOTSUPP: ["no-domain"],
    EIO: ["no-domain"],
  },
  "VFIO_SET_IOMMU": {
    ...SHORT,
    ENOTTY: ["wrong-file"],
    EPERM: ["firmware-region", "unsafe-interrupts"],
    EBUSY: ["dma-in-use", "memory-suspended"],
    EINVAL: ["firmware-region", "iommu-set", "no-domain"],
    ENODEV: ["no-type1v2", "no-domain"],
    EOPNOTSUPP: ["no-domain"],
    EIO: ["no-domain"],
  },
  "VFIO_GROUP_GET_DEVICE_FD": {
    ...DRIVER,
    EBADF: ["wrong-file"],
    ENOTTY: ["wrong-file"],
    ENODEV: ["not-in-group"],
    EACCES: ["vf-token-wanted", "runtime-pm"],
    // If an iommufd stands in for the container (CONFIG_IOMMUFD_VFIO_CONTAINER), the group is
    // claimed here, and the device bound and attached.
    EPERM: ["noiommu-rights", "not-viable", "unsafe-interrupts", "driver-refuses"],
    EBUSY: ["driver-busy"],
    EINVAL: [
      "vf-token-unwanted",
      "not-viable",
      "no-iommu-set",
      "firmware-region",
      "driver-refuses",
    ],
    EOPNOTSUPP: ["driver-refuses"],
    ENOSPC: ["driver-refuses"],
    ESRCH: ["driver-wants-kvm"],
    EEXIST: ["driver-busy"],
  },
  "VFIO_DEVICE_BIND_IOMMUFD": {
    ...DRIVER,
    EBADF: ["wrong-iommufd"],
    EBADFD: ["wrong-iommufd"],
    ENOTTY: ["no-bind"],
    ENODEV: ["device-gone"],
    EACCES: ["vf-token-wanted", "runtime-pm"],
    EPERM: ["not-viable", "sibling-bound", "firmware-region", "unsafe-interrupts"],
    EBUSY: ["group-in-use", "dma-in-use"],
    EINVAL: [
      "cdev-in-use",
      "vf-token-too-early",
      "vf-token-unwanted",
      "firmware-region",
      "driver-refuses",
    ],
    EOPNOTSUPP: ["driver-refuses"],
    ENOSPC: ["driver-refuses"],
    ESRCH: ["driver-wants-kvm"],
    EEXIST: ["driver-busy"],
  },
  "IOMMU_IOAS_ALLOC": {
    ...SHORT,
    EBADF: ["wrong-iommufd"],
    ENOTTY: ["wrong-iommufd"],
    EINVAL: ["wrong-iommufd"],
    EOPNOTSUPP: ["wrong-iommufd"],
    E2BIG: ["wrong-iommufd"],
    EBUSY: ["ids-used-up"],
  },
  "VFIO_DEVICE_ATTACH_IOMMUFD_PT": {
    ...SHORT,
    ENOMEM: ["pinning", "no-memory"],
    ENOTTY: ["no-bind"],
    ENODEV: ["no-domain"],
    EPERM: ["firmware-region"],
    EBUSY: ["dma-in-use"],
    EEXIST: ["other-ioas"],
    ENOENT: ["no-ioas"],
    EINVAL: ["firmware-region", "other-ioas", "no-domain"],
    EOPNOTSUPP: ["no-domain"],
    EADDRINUSE: ["reserved-iova"],
    EFAULT: ["pinning"],
    EIO: ["no-domain"],
  },
  "VFIO_DEVICE_GET_INFO": {
    ...SHORT,
    ...SERVER,
    EBADF: ["wrong-file"],
    ENOTTY: ["wrong-file"],
    EINVAL: ["wrong-file"],
    ENODEV: ["device-gone"],
    EIO: ["no-power"],
  },
};
