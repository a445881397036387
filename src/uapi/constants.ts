/**
 * The constants of linux/vfio.h and linux/iommufd.h under their C names, and those used of
 * linux/userfaultfd.h and linux/fs.h. Those of vfio.h are as in
 * Linux 6.1, unless the comment names another version. All are unsigned: where C's `1 << 31` is
 * negative, the number here is the one that a `__u32` field holds.
 *
 * @module
 */

// ---- the API

/** What VFIO_GET_API_VERSION returns. */
export const VFIO_API_VERSION = 0;
/** The type (letter) of VFIO's requests: `';'`. */
export const VFIO_TYPE = 0x3b;
/** The number of VFIO's first request. */
export const VFIO_BASE = 100;

// ---- extensions: VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU

/** IOMMU type 1, whose unmap may split mappings. */
export const VFIO_TYPE1_IOMMU = 1;
/** IOMMU of POWER servers. */
export const VFIO_SPAPR_TCE_IOMMU = 2;
/** IOMMU type 1, whose unmap removes whole mappings only; the only type that logs dirty pages. */
export const VFIO_TYPE1v2_IOMMU = 3;
/** The IOMMU enforces cache coherence of DMA. */
export const VFIO_DMA_CC_IOMMU = 4;
/** Error handling of POWER servers. */
export const VFIO_EEH = 5;
/** IOMMU type 1 v2 with two stages; later kernels dropped it. */
export const VFIO_TYPE1_NESTING_IOMMU = 6;
/** IOMMU of POWER servers, version 2. */
export const VFIO_SPAPR_TCE_v2_IOMMU = 7;
/** No IOMMU: no translation and no isolation. */
export const VFIO_NOIOMMU_IOMMU = 8;
/** VFIO_DMA_UNMAP_FLAG_ALL is supported. */
export const VFIO_UNMAP_ALL = 9;
/** The VADDR flags of map and unmap are supported. */
export const VFIO_UPDATE_VADDR = 10;

// ---- vfio_group_status.flags

/** Every device of the group is bound to a VFIO driver or to none. */
export const VFIO_GROUP_FLAGS_VIABLE = 1 << 0;
/** The group is in a container. */
export const VFIO_GROUP_FLAGS_CONTAINER_SET = 1 << 1;

// ---- vfio_device_info.flags

/** VFIO_DEVICE_RESET is supported. */
export const VFIO_DEVICE_FLAGS_RESET = 1 << 0;
/** A vfio-pci device. */
export const VFIO_DEVICE_FLAGS_PCI = 1 << 1;
/** A vfio-platform device. */
export const VFIO_DEVICE_FLAGS_PLATFORM = 1 << 2;
/** A vfio-amba device. */
export const VFIO_DEVICE_FLAGS_AMBA = 1 << 3;
/** A vfio-ccw device. */
export const VFIO_DEVICE_FLAGS_CCW = 1 << 4;
/** A vfio-ap device. */
export const VFIO_DEVICE_FLAGS_AP = 1 << 5;
/** A vfio-fsl-mc device. */
export const VFIO_DEVICE_FLAGS_FSL_MC = 1 << 6;
/** Capabilities follow: cap_offset is valid. */
export const VFIO_DEVICE_FLAGS_CAPS = 1 << 7;
/** A vfio-cdx device (Linux 6.6). */
export const VFIO_DEVICE_FLAGS_CDX = 1 << 8;

// ---- vfio_region_info.flags

/** The region may be read. */
export const VFIO_REGION_INFO_FLAG_READ = 1 << 0;
/** The region may be written. */
export const VFIO_REGION_INFO_FLAG_WRITE = 1 << 1;
/** The region may be mapped, either whole or in the sparse areas. */
export const VFIO_REGION_INFO_FLAG_MMAP = 1 << 2;
/** Capabilities follow: cap_offset is valid. */
export const VFIO_REGION_INFO_FLAG_CAPS = 1 << 3;

// ---- capability ids of vfio_region_info

/** struct vfio_region_info_cap_sparse_mmap. */
export const VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1;
/** struct vfio_region_info_cap_type. */
export const VFIO_REGION_INFO_CAP_TYPE = 2;
/** The MSI-X table may be mapped; the capability is a header only. */
export const VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;
/** Address of GPU memory behind NVLink 2; no longer provided. */
export const VFIO_REGION_INFO_CAP_NVLINK2_SSATGT = 4;
/** Speed of NVLink 2; no longer provided. */
export const VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD = 5;

// ---- region types and subtypes

/** The bit that marks a PCI vendor's own type. */
export const VFIO_REGION_TYPE_PCI_VENDOR_TYPE = 0x8000_0000;
/** The vendor id in such a type. */
export const VFIO_REGION_TYPE_PCI_VENDOR_MASK = 0xffff;
/** Graphics. */
export const VFIO_REGION_TYPE_GFX = 1;
/** Channel I/O. */
export const VFIO_REGION_TYPE_CCW = 2;
/** The v1 migration region. Named VFIO_REGION_TYPE_MIGRATION before Linux 5.18. */
export const VFIO_REGION_TYPE_MIGRATION_DEPRECATED = 3;
/** The v1 migration region. Named VFIO_REGION_SUBTYPE_MIGRATION before Linux 5.18. */
export const VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED = 1;

// ---- regions of a PCI device, by index

/** BAR 0; the others follow. */
export const VFIO_PCI_BAR0_REGION_INDEX = 0;
/** BAR 5. */
export const VFIO_PCI_BAR5_REGION_INDEX = 5;
/** The expansion ROM. */
export const VFIO_PCI_ROM_REGION_INDEX = 6;
/** Configuration space. */
export const VFIO_PCI_CONFIG_REGION_INDEX = 7;
/** VGA ports and memory. */
export const VFIO_PCI_VGA_REGION_INDEX = 8;
/** From this index on, the type capability of a region identifies it. */
export const VFIO_PCI_NUM_REGIONS = 9;

// ---- vfio_irq_info.flags

/** Interrupts are signalled through eventfds. */
export const VFIO_IRQ_INFO_EVENTFD = 1 << 0;
/** They can be masked and unmasked. */
export const VFIO_IRQ_INFO_MASKABLE = 1 << 1;
/** The kernel masks an interrupt after it has signalled it. */
export const VFIO_IRQ_INFO_AUTOMASKED = 1 << 2;
/** Their number is fixed once they are in use. */
export const VFIO_IRQ_INFO_NORESIZE = 1 << 3;

// ---- vfio_irq_set.flags

/** No data: the action is for all of the interrupts; with TRIGGER and count 0, they are disabled. */
export const VFIO_IRQ_SET_DATA_NONE = 1 << 0;
/** A bool for each interrupt: whether the action is for it. */
export const VFIO_IRQ_SET_DATA_BOOL = 1 << 1;
/** An eventfd for each interrupt; -1 for none. */
export const VFIO_IRQ_SET_DATA_EVENTFD = 1 << 2;
/** Masks the interrupts. */
export const VFIO_IRQ_SET_ACTION_MASK = 1 << 3;
/** Unmasks them. */
export const VFIO_IRQ_SET_ACTION_UNMASK = 1 << 4;
/** Signals them; with eventfds, sets what they signal. */
export const VFIO_IRQ_SET_ACTION_TRIGGER = 1 << 5;

// ---- interrupts of a PCI device, by index

/** The pin. */
export const VFIO_PCI_INTX_IRQ_INDEX = 0;
/** MSI. */
export const VFIO_PCI_MSI_IRQ_INDEX = 1;
/** MSI-X. */
export const VFIO_PCI_MSIX_IRQ_INDEX = 2;
/** PCI Express errors. */
export const VFIO_PCI_ERR_IRQ_INDEX = 3;
/** The host requests the device back. */
export const VFIO_PCI_REQ_IRQ_INDEX = 4;
/** How many there are. */
export const VFIO_PCI_NUM_IRQS = 5;

// ---- v1: vfio_device_migration_info.device_state

/** Stopped. Named VFIO_DEVICE_STATE_STOP before Linux 5.18, when v2 took that name. */
export const VFIO_DEVICE_STATE_V1_STOP = 0;
/** Running. Named VFIO_DEVICE_STATE_RUNNING before Linux 5.18. */
export const VFIO_DEVICE_STATE_V1_RUNNING = 1 << 0;
/** Saving. Named VFIO_DEVICE_STATE_SAVING before Linux 5.18. */
export const VFIO_DEVICE_STATE_V1_SAVING = 1 << 1;
/** Resuming. Named VFIO_DEVICE_STATE_RESUMING before Linux 5.18. */
export const VFIO_DEVICE_STATE_V1_RESUMING = 1 << 2;
/** The three bits; all others are reserved and must be preserved. */
export const VFIO_DEVICE_STATE_MASK = 0b111;

// ---- v2: vfio_device_feature.flags

/** The feature's number. */
export const VFIO_DEVICE_FEATURE_MASK = 0xffff;
/** Read the feature. */
export const VFIO_DEVICE_FEATURE_GET = 1 << 16;
/** Write the feature. */
export const VFIO_DEVICE_FEATURE_SET = 1 << 17;
/** Ask whether the device has the feature. */
export const VFIO_DEVICE_FEATURE_PROBE = 1 << 18;

// ---- v2: features

/** 16 bytes: the secret shared by a PF's driver and a VF's. */
export const VFIO_DEVICE_FEATURE_PCI_VF_TOKEN = 0;
/** struct vfio_device_feature_migration. */
export const VFIO_DEVICE_FEATURE_MIGRATION = 1;
/** struct vfio_device_feature_mig_state. */
export const VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE = 2;
/** No data; the device may enter low power until an access wakes it. */
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY = 3;
/** An eventfd that is signalled when the device wakes by itself. */
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP = 4;
/** No data; the device leaves low power and stays out of it. */
export const VFIO_DEVICE_FEATURE_LOW_POWER_EXIT = 5;
/** struct vfio_device_feature_dma_logging_control. */
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_START = 6;
/** No data. */
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP = 7;
/** struct vfio_device_feature_dma_logging_report. */
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT = 8;
/** struct vfio_device_feature_mig_data_size (Linux 6.2). */
export const VFIO_DEVICE_FEATURE_MIG_DATA_SIZE = 9;
/** Turns the device's DMA on or off; only devices on the CDX bus have it (Linux 6.7). */
export const VFIO_DEVICE_FEATURE_BUS_MASTER = 10;
/** No data; once set, the driver fills in vfio_precopy_info.flags (Linux 7.1). */
export const VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 = 12;

// ---- v2: vfio_device_feature_migration.flags

/** STOP, STOP_COPY and RESUMING are supported. */
export const VFIO_MIGRATION_STOP_COPY = 1 << 0;
/** RUNNING_P2P is supported. */
export const VFIO_MIGRATION_P2P = 1 << 1;
/** PRE_COPY is supported (Linux 6.2). */
export const VFIO_MIGRATION_PRE_COPY = 1 << 2;

// ---- v2: vfio_precopy_info.flags, after SET of VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2

/** There is new initial data: initial_bytes starts over (Linux 7.1). */
export const VFIO_PRECOPY_INFO_REINIT = 1 << 0;

// ---- v2: enum vfio_device_mig_state. Not the numbers of v1

/** Failed; a reset brings the device back to RUNNING. */
export const VFIO_DEVICE_STATE_ERROR = 0;
/** Stopped. */
export const VFIO_DEVICE_STATE_STOP = 1;
/** Running. */
export const VFIO_DEVICE_STATE_RUNNING = 2;
/** Stopped; its state may be read. */
export const VFIO_DEVICE_STATE_STOP_COPY = 3;
/** Stopped; a new state may be written. */
export const VFIO_DEVICE_STATE_RESUMING = 4;
/** Running, without DMA to other devices. */
export const VFIO_DEVICE_STATE_RUNNING_P2P = 5;
/** Running; its state may be read (Linux 6.2). */
export const VFIO_DEVICE_STATE_PRE_COPY = 6;
/** Like PRE_COPY, without DMA to other devices (Linux 6.2). */
export const VFIO_DEVICE_STATE_PRE_COPY_P2P = 7;

// ---- vfio_iommu_type1_info.flags

/** iova_pgsizes is valid. */
export const VFIO_IOMMU_INFO_PGSIZES = 1 << 0;
/** Capabilities follow: cap_offset is valid. */
export const VFIO_IOMMU_INFO_CAPS = 1 << 1;
/**
 * Dirty pages are logged. Only drafts of the v1 patches have this flag. No released kernel sets or
 * names it; released kernels have the capability MIGRATION instead.
 */
export const VFIO_IOMMU_INFO_DIRTY_PGS = 1 << 2;

// ---- capability ids of vfio_iommu_type1_info

/** struct vfio_iommu_type1_info_cap_iova_range. */
export const VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1;
/** struct vfio_iommu_type1_info_cap_migration: dirty pages are logged. */
export const VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION = 2;
/** struct vfio_iommu_type1_info_dma_avail. */
export const VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = 3;

// ---- vfio_iommu_type1_dma_map.flags

/** The device may read. */
export const VFIO_DMA_MAP_FLAG_READ = 1 << 0;
/** The device may write. */
export const VFIO_DMA_MAP_FLAG_WRITE = 1 << 1;
/** Gives an existing mapping a new address in the process. */
export const VFIO_DMA_MAP_FLAG_VADDR = 1 << 2;

// ---- vfio_iommu_type1_dma_unmap.flags

/** data is a struct vfio_bitmap: report dirty pages, then unmap. */
export const VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP = 1 << 0;
/** Unmap everything; iova and size must be 0. */
export const VFIO_DMA_UNMAP_FLAG_ALL = 1 << 1;
/** Keep the mapping, but drop its address in the process. */
export const VFIO_DMA_UNMAP_FLAG_VADDR = 1 << 2;

// ---- vfio_iommu_type1_dirty_bitmap.flags: exactly one of them

/** Start logging. */
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_START = 1 << 0;
/** Stop logging; dirty pages that were not read are lost. */
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP = 1 << 1;
/** data is a struct vfio_iommu_type1_dirty_bitmap_get: read the log and clear it. */
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP = 1 << 2;

// ---- vfio_device_bind_iommufd.flags

/** token_uuid_ptr is valid (Linux 6.17). */
export const VFIO_DEVICE_BIND_FLAG_TOKEN = 1 << 0;

// ---- iommufd (Linux 6.2)

/** The type (letter) of iommufd's requests: `';'`, the same as VFIO's. */
export const IOMMUFD_TYPE = 0x3b;

// ---- iommu_ioas_map.flags

/** Map at the address in iova; without this flag the kernel chooses one. */
export const IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0;
/** The device may write. */
export const IOMMU_IOAS_MAP_WRITEABLE = 1 << 1;
/** The device may read. */
export const IOMMU_IOAS_MAP_READABLE = 1 << 2;

// ---- iommu_hwpt_alloc.flags

/** Allocate a page table that can track dirty pages (Linux 6.7). */
export const IOMMU_HWPT_ALLOC_DIRTY_TRACKING = 1 << 1;

// ---- iommu_hw_info.out_capabilities

/** The IOMMU hardware can track dirty pages (Linux 6.7). */
export const IOMMU_HW_CAP_DIRTY_TRACKING = 1 << 0;

// ---- iommu_hwpt_set_dirty_tracking.flags

/** Start tracking, with all pages clean; without this flag tracking stops (Linux 6.7). */
export const IOMMU_HWPT_DIRTY_TRACKING_ENABLE = 1 << 0;

// ---- iommu_hwpt_get_dirty_bitmap.flags

/** Leave the pages dirty: a faster read of what is about to be unmapped (Linux 6.7). */
export const IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR = 1 << 0;

// ---- userfaultfd(2), and the ranges that are registered with it

/** uffdio_api.api: the only version. */
export const UFFD_API = 0xaa;
/** A flag of userfaultfd(2): handle faults of user mode only, which needs no privilege (Linux 5.11). */
export const UFFD_USER_MODE_ONLY = 1;
/** uffdio_register.mode: the range can be write-protected. */
export const UFFDIO_REGISTER_MODE_WP = 1 << 1;

// ---- uffdio_api.features

/** Files of tmpfs and hugetlbfs can be write-protected, too (Linux 5.19). */
export const UFFD_FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12;
/** Pages can be write-protected that are not there yet (Linux 6.4). */
export const UFFD_FEATURE_WP_UNPOPULATED = 1 << 13;
/** The kernel itself lets go of the protection at a write, which nobody is told of (Linux 6.7). */
export const UFFD_FEATURE_WP_ASYNC = 1 << 15;

// ---- pm_scan_arg: categories of pages (Linux 6.7)

/** It can be write-protected, by UFFD_FEATURE_WP_ASYNC. */
export const PAGE_IS_WPALLOWED = 1 << 0;
/** It is not write-protected: it was written to, or never protected. */
export const PAGE_IS_WRITTEN = 1 << 1;
/** It is in memory. */
export const PAGE_IS_PRESENT = 1 << 3;
/** It is in swap, or protected and not there yet. */
export const PAGE_IS_SWAPPED = 1 << 4;

// ---- pm_scan_arg.flags (Linux 6.7)

/** Write-protect the pages that match. */
export const PM_SCAN_WP_MATCHING = 1 << 0;
/** Fail with EPERM where pages cannot be write-protected. */
export const PM_SCAN_CHECK_WPASYNC = 1 << 1;
