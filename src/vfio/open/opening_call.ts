/**
 * The calls that open a device.
 */

/** A call of the opening path. */
export type OpeningCall =
  | "read sysfs"
  | "connect"
  | "open container"
  | "open group"
  | "open cdev"
  | "open iommufd"
  | "VFIO_GET_API_VERSION"
  | "VFIO_CHECK_EXTENSION"
  | "VFIO_GROUP_GET_STATUS"
  | "VFIO_GROUP_SET_CONTAINER"
  | "VFIO_SET_IOMMU"
  | "VFIO_GROUP_GET_DEVICE_FD"
  | "VFIO_DEVICE_BIND_IOMMUFD"
  | "IOMMU_IOAS_ALLOC"
  | "VFIO_DEVICE_ATTACH_IOMMUFD_PT"
  | "VFIO_DEVICE_GET_INFO";
