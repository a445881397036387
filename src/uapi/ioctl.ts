/**
 * Request numbers of linux/vfio.h, linux/iommufd.h, and those used of linux/userfaultfd.h and
 * linux/fs.h, and the macros that compute such numbers.
 *
 * A number alone is ambiguous: the kernel uses the same ones for different
 * kinds of file descriptor (0x3b70 … 0x3b79). All requests of VFIO and iommufd are plain
 * `_IO`, even if the header's comments say otherwise: they encode neither a size
 * nor a direction.
 *
 * @module
 */

// ---- on a container (/dev/vfio/vfio)

/** On a container: no argument; returns VFIO_API_VERSION. `_IO(VFIO_TYPE, VFIO_BASE + 0)`. */
export const VFIO_GET_API_VERSION = 0x3b64;
/** On a container: the argument is an extension; returns 0 if it is not supported. `_IO(VFIO_TYPE, VFIO_BASE + 1)`. */
export const VFIO_CHECK_EXTENSION = 0x3b65;
/** On a container: the argument is an IOMMU type; needs a group in the container. `_IO(VFIO_TYPE, VFIO_BASE + 2)`. */
export const VFIO_SET_IOMMU = 0x3b66;

// ---- on a group (/dev/vfio/N)

/** On a group: struct vfio_group_status. `_IO(VFIO_TYPE, VFIO_BASE + 3)`. */
export const VFIO_GROUP_GET_STATUS = 0x3b67;
/** On a group: the address of a container's fd (s32). `_IO(VFIO_TYPE, VFIO_BASE + 4)`. */
export const VFIO_GROUP_SET_CONTAINER = 0x3b68;
/** On a group: no argument; EBUSY while a device is open. `_IO(VFIO_TYPE, VFIO_BASE + 5)`. */
export const VFIO_GROUP_UNSET_CONTAINER = 0x3b69;
/** On a group: the address of a device's name, ending in NUL; returns an fd. `_IO(VFIO_TYPE, VFIO_BASE + 6)`. */
export const VFIO_GROUP_GET_DEVICE_FD = 0x3b6a;

// ---- on a device

/** On a device: struct vfio_device_info. `_IO(VFIO_TYPE, VFIO_BASE + 7)`. */
export const VFIO_DEVICE_GET_INFO = 0x3b6b;
/** On a device: struct vfio_region_info. `_IO(VFIO_TYPE, VFIO_BASE + 8)`. */
export const VFIO_DEVICE_GET_REGION_INFO = 0x3b6c;
/** On a device: struct vfio_irq_info. `_IO(VFIO_TYPE, VFIO_BASE + 9)`. */
export const VFIO_DEVICE_GET_IRQ_INFO = 0x3b6d;
/** On a device: struct vfio_irq_set. `_IO(VFIO_TYPE, VFIO_BASE + 10)`. */
export const VFIO_DEVICE_SET_IRQS = 0x3b6e;
/** On a device: no argument. `_IO(VFIO_TYPE, VFIO_BASE + 11)`. */
export const VFIO_DEVICE_RESET = 0x3b6f;
/** On a device: struct vfio_pci_hot_reset_info. `_IO(VFIO_TYPE, VFIO_BASE + 12)`. */
export const VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = 0x3b70;
/** On a device: struct vfio_pci_hot_reset. `_IO(VFIO_TYPE, VFIO_BASE + 13)`. */
export const VFIO_DEVICE_PCI_HOT_RESET = 0x3b71;
/** On a device: struct vfio_device_gfx_plane_info. `_IO(VFIO_TYPE, VFIO_BASE + 14)`. */
export const VFIO_DEVICE_QUERY_GFX_PLANE = 0x3b72;
/** On a device: the address of a dma-buf id (u32); returns an fd. `_IO(VFIO_TYPE, VFIO_BASE + 15)`. */
export const VFIO_DEVICE_GET_GFX_DMABUF = 0x3b73;
/** On a device: struct vfio_device_ioeventfd. `_IO(VFIO_TYPE, VFIO_BASE + 16)`. */
export const VFIO_DEVICE_IOEVENTFD = 0x3b74;
/** On a device: struct vfio_device_feature. `_IO(VFIO_TYPE, VFIO_BASE + 17)`. */
export const VFIO_DEVICE_FEATURE = 0x3b75;
/** On a device: struct vfio_device_bind_iommufd (Linux 6.6). `_IO(VFIO_TYPE, VFIO_BASE + 18)`. */
export const VFIO_DEVICE_BIND_IOMMUFD = 0x3b76;
/** On a device: struct vfio_device_attach_iommufd_pt (Linux 6.6). `_IO(VFIO_TYPE, VFIO_BASE + 19)`. */
export const VFIO_DEVICE_ATTACH_IOMMUFD_PT = 0x3b77;
/** On a device: struct vfio_device_detach_iommufd_pt (Linux 6.6). `_IO(VFIO_TYPE, VFIO_BASE + 20)`. */
export const VFIO_DEVICE_DETACH_IOMMUFD_PT = 0x3b78;

// ---- on a v2 migration data fd

/** On a v2 migration data fd: struct vfio_precopy_info (Linux 6.2). `_IO(VFIO_TYPE, VFIO_BASE + 21)`. */
export const VFIO_MIG_GET_PRECOPY_INFO = 0x3b79;

// ---- on a container with a type1 IOMMU

/** On a container with a type1 IOMMU: struct vfio_iommu_type1_info. `_IO(VFIO_TYPE, VFIO_BASE + 12)`. */
export const VFIO_IOMMU_GET_INFO = 0x3b70;
/** On a container with a type1 IOMMU: struct vfio_iommu_type1_dma_map. `_IO(VFIO_TYPE, VFIO_BASE + 13)`. */
export const VFIO_IOMMU_MAP_DMA = 0x3b71;
/** On a container with a type1 IOMMU: struct vfio_iommu_type1_dma_unmap. `_IO(VFIO_TYPE, VFIO_BASE + 14)`. */
export const VFIO_IOMMU_UNMAP_DMA = 0x3b72;
/** On a container with a type1 IOMMU: no argument. `_IO(VFIO_TYPE, VFIO_BASE + 15)`. */
export const VFIO_IOMMU_ENABLE = 0x3b73;
/** On a container with a type1 IOMMU: no argument. `_IO(VFIO_TYPE, VFIO_BASE + 16)`. */
export const VFIO_IOMMU_DISABLE = 0x3b74;
/** On a container with a type1 IOMMU: struct vfio_iommu_type1_dirty_bitmap. `_IO(VFIO_TYPE, VFIO_BASE + 17)`. */
export const VFIO_IOMMU_DIRTY_PAGES = 0x3b75;

// ---- on an iommufd (/dev/iommu), from Linux 6.2 on

/** On an iommufd: struct iommu_destroy; EBUSY while the object is in use. `_IO(IOMMUFD_TYPE, 0x80)`. */
export const IOMMU_DESTROY = 0x3b80;
/** On an iommufd: struct iommu_ioas_alloc. `_IO(IOMMUFD_TYPE, 0x81)`. */
export const IOMMU_IOAS_ALLOC = 0x3b81;
/** On an iommufd: struct iommu_ioas_iova_ranges; EMSGSIZE if there are more than fit. `_IO(IOMMUFD_TYPE, 0x84)`. */
export const IOMMU_IOAS_IOVA_RANGES = 0x3b84;
/** On an iommufd: struct iommu_ioas_map. `_IO(IOMMUFD_TYPE, 0x85)`. */
export const IOMMU_IOAS_MAP = 0x3b85;
/** On an iommufd: struct iommu_ioas_unmap; ENOENT if nothing is mapped. `_IO(IOMMUFD_TYPE, 0x86)`. */
export const IOMMU_IOAS_UNMAP = 0x3b86;
/** On an iommufd: struct iommu_hwpt_alloc (Linux 6.7). `_IO(IOMMUFD_TYPE, 0x89)`. */
export const IOMMU_HWPT_ALLOC = 0x3b89;
/** On an iommufd: struct iommu_hw_info (Linux 6.7). `_IO(IOMMUFD_TYPE, 0x8a)`. */
export const IOMMU_GET_HW_INFO = 0x3b8a;
/** On an iommufd: struct iommu_hwpt_set_dirty_tracking (Linux 6.7). `_IO(IOMMUFD_TYPE, 0x8b)`. */
export const IOMMU_HWPT_SET_DIRTY_TRACKING = 0x3b8b;
/** On an iommufd: struct iommu_hwpt_get_dirty_bitmap (Linux 6.7). `_IO(IOMMUFD_TYPE, 0x8c)`. */
export const IOMMU_HWPT_GET_DIRTY_BITMAP = 0x3b8c;

// ---- on a userfaultfd, and on a pagemap (/proc/PID/pagemap)

/** On a userfaultfd: struct uffdio_api, the first request. `_IOWR(0xAA, 0x3F, struct uffdio_api)`. */
export const UFFDIO_API = 0xc018_aa3f;
/** On a userfaultfd: struct uffdio_register. `_IOWR(0xAA, 0x00, struct uffdio_register)`. */
export const UFFDIO_REGISTER = 0xc020_aa00;
/** On a pagemap: struct pm_scan_arg; returns the number of regions (Linux 6.7). `_IOWR('f', 16, struct pm_scan_arg)`. */
export const PAGEMAP_SCAN = 0xc060_6610;

/** The `dir` bits that each macro sets (asm-generic/ioctl.h: `_IOC_WRITE` is 1, `_IOC_READ` 2). */
const DIRECTIONS = { _IO: 0, _IOW: 1, _IOR: 2, _IOWR: 3 } as const;

/**
 * The request number of an ioctl without a sized argument: `_IO(type, nr)`.
 *
 * @param type the driver's letter, as a character or its code
 * @param nr the number in the driver's range, 0 to 255
 * @throws {RangeError} a part doesn't fit its bits
 *
 * @example
 * ```ts
 * import { _IO, VFIO_GET_API_VERSION } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * assert.equal(_IO(";", 100), VFIO_GET_API_VERSION);
 * ```
 */
export function _IO(type: string | number, nr: number): number {
  return request("_IO", type, nr, 0);
}

/**
 * The request number of an ioctl whose argument the kernel writes: `_IOR(type, nr, size)`.
 *
 * @param type the driver's letter, as a character or its code
 * @param nr the number in the driver's range, 0 to 255
 * @param size the argument's size in bytes, 0 to 16383
 * @throws {RangeError} a part doesn't fit its bits
 *
 * @example
 * ```ts
 * import { _IOR } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * assert.equal(_IOR("T", 0x30, 4), 0x8004_5430); // TIOCGPTN
 * ```
 */
export function _IOR(type: string | number, nr: number, size: number): number {
  return request("_IOR", type, nr, size);
}

/**
 * The request number of an ioctl whose argument the kernel reads: `_IOW(type, nr, size)`.
 *
 * @param type the driver's letter, as a character or its code
 * @param nr the number in the driver's range, 0 to 255
 * @param size the argument's size in bytes, 0 to 16383
 * @throws {RangeError} a part doesn't fit its bits
 *
 * @example
 * ```ts
 * import { _IOW } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * assert.equal(_IOW("T", 0x31, 4), 0x4004_5431); // TIOCSPTLCK
 * ```
 */
export function _IOW(type: string | number, nr: number, size: number): number {
  return request("_IOW", type, nr, size);
}

/**
 * The request number of an ioctl whose argument the kernel reads and writes:
 * `_IOWR(type, nr, size)`.
 *
 * @param type the driver's letter, as a character or its code
 * @param nr the number in the driver's range, 0 to 255
 * @param size the argument's size in bytes, 0 to 16383
 * @throws {RangeError} a part doesn't fit its bits
 *
 * @example
 * ```ts
 * import { _IOWR } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * assert.equal(_IOWR("d", 0x00, 64), 0xc040_6400); // DRM_IOCTL_VERSION
 * ```
 */
export function _IOWR(type: string | number, nr: number, size: number): number {
  return request("_IOWR", type, nr, size);
}

function request(
  macro: keyof typeof DIRECTIONS,
  type: string | number,
  nr: number,
  size: number,
): number {
  const letter = typeof type === "string" && type.length === 1 ? type.charCodeAt(0) : type;
  checkBits(macro, "type", letter, 8);
  checkBits(macro, "number", nr, 8);
  checkBits(macro, "size", size, 14);
  return (DIRECTIONS[macro] << 30 | size << 16 | Number(letter) << 8 | nr) >>> 0;
}

function checkBits(macro: string, part: string, value: string | number, bits: number): void {
  if (!Number.isInteger(value) || Number(value) < 0 || Number(value) >= 2 ** bits) {
    const shown = typeof value === "string" ? JSON.stringify(value) : value;
    throw new RangeError(
      `Cannot make a request with ${macro}: ${part} ${shown} does not fit ${bits} bits`,
    );
  }
}
