/**
 * Attaches a device to an IOAS or a page table of its iommufd.
 *
 * @module
 */

import type { Fd } from "../../kernel/fd.ts";
import { VFIO_DEVICE_ATTACH_IOMMUFD_PT, vfioDeviceAttachIommufdPt } from "../../uapi/mod.ts";
import { ioctl } from "../ioctl.ts";

/**
 * Attaches a device, in place of what it was attached to (VFIO_DEVICE_ATTACH_IOMMUFD_PT).
 *
 * @param id The id of an IOAS, for which the kernel finds or makes a page table, or of a page table.
 * @throws {SysError} If the kernel refuses.
 */
export function attach(fd: Fd, id: number): void {
  ioctl(fd, { VFIO_DEVICE_ATTACH_IOMMUFD_PT }, vfioDeviceAttachIommufdPt.pack({ pt_id: id }));
}
