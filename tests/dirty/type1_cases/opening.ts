/**
 * Containers and groups before there is anything to map.
 *
 * @module
 */

import { O_RDWR } from "../../../src/kernel/kernel.ts";
import {
  VFIO_DMA_CC_IOMMU,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_SET_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1_NESTING_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
} from "../../../src/uapi/mod.ts";
import type { CaseGroup } from "./case.ts";

export const OPENING: CaseGroup = {
  name: "opening",
  opened: false,
  cases: [
    {
      name: "open the container",
      ask: (a) => void (a.container = a.host.kernel.open("/dev/vfio/vfio", O_RDWR)),
      answer: "0",
    },
    {
      name: "GET_API_VERSION",
      ask: (a) => `says ${a.ioctl(a.container, VFIO_GET_API_VERSION)}`,
      answer: "0 says 0",
    },
    {
      name: "CHECK_EXTENSION TYPE1, no group yet",
      ask: (a) => a.extension(VFIO_TYPE1_IOMMU),
      answer: "0 says 1",
    },
    {
      name: "CHECK_EXTENSION TYPE1v2, no group yet",
      ask: (a) => a.extension(VFIO_TYPE1v2_IOMMU),
      answer: "0 says 1",
    },
    {
      name: "CHECK_EXTENSION NESTING",
      ask: (a) => a.extension(VFIO_TYPE1_NESTING_IOMMU),
      answer: { "5.10": "0 says 1", "7.0": "0 says 0" },
    },
    {
      name: "CHECK_EXTENSION UNMAP_ALL",
      ask: (a) => a.extension(VFIO_UNMAP_ALL),
      answer: { "5.10": "0 says 0", "6.1": "0 says 1" },
    },
    {
      name: "SET_IOMMU with no group",
      ask: (a) => void a.ioctl(a.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU),
      answer: "EINVAL",
    },
    {
      name: "START before SET_IOMMU",
      ask: (a) => a.dirty(VFIO_IOMMU_DIRTY_PAGES_FLAG_START),
      answer: "EINVAL",
    },
    {
      name: "open the group",
      ask: (a) => void (a.group = a.host.kernel.open(a.host.group, O_RDWR)),
      answer: "0",
    },
    {
      name: "open the group twice",
      ask: (a) => void a.host.kernel.open(a.host.group, O_RDWR),
      answer: "EBUSY",
    },
    {
      name: "GET_DEVICE_FD before a container is set",
      ask: (a) => void a.openDevice(),
      answer: "EINVAL",
    },
    { name: "SET_CONTAINER", ask: (a) => a.setContainer(), answer: "0" },
    { name: "SET_CONTAINER twice", ask: (a) => a.setContainer(), answer: "EINVAL" },
    { name: "GET_DEVICE_FD before SET_IOMMU", ask: (a) => void a.openDevice(), answer: "EINVAL" },
    {
      name: "CHECK_EXTENSION DMA_CC, group attached, no IOMMU",
      ask: (a) => a.extension(VFIO_DMA_CC_IOMMU),
      answer: "0 says 0",
    },
    {
      name: "SET_IOMMU",
      ask: (a) => void a.ioctl(a.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU),
      answer: "0",
    },
    {
      name: "SET_IOMMU twice",
      ask: (a) => void a.ioctl(a.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU),
      answer: "EINVAL",
    },
    {
      name: "GET_INFO argsz 8",
      ask: (a) => a.info(8),
      answer: "EINVAL",
    },
    {
      name: "GET_INFO argsz 16: no cap_offset",
      ask: (a) => a.info(16),
      answer: {
        "5.10": "0 flags 0x3 argsz 68 pgsizes 0xfffffffffffff000 cap_offset 0",
        "6.12": "0 flags 0x3 argsz 72 pgsizes 0xfffffffffffff000 cap_offset 0",
      },
      hardware: {
        "5.10": "0 flags 0x3 argsz 116 pgsizes 0xfffffffffffff000 cap_offset 0",
        "6.1": "0 flags 0x3 argsz 116 pgsizes 0x40201000 cap_offset 0",
        "6.12": "0 flags 0x3 argsz 120 pgsizes 0x40201000 cap_offset 0",
      },
    },
    {
      name: "GET_INFO argsz 24: no room for capabilities",
      ask: (a) => a.info(24),
      answer: {
        "5.10": "0 flags 0x3 argsz 68 pgsizes 0xfffffffffffff000 cap_offset 0",
        "6.12": "0 flags 0x3 argsz 72 pgsizes 0xfffffffffffff000 cap_offset 0",
      },
      hardware: {
        "5.10": "0 flags 0x3 argsz 116 pgsizes 0xfffffffffffff000 cap_offset 0",
        "6.1": "0 flags 0x3 argsz 116 pgsizes 0x40201000 cap_offset 0",
        "6.12": "0 flags 0x3 argsz 120 pgsizes 0x40201000 cap_offset 0",
      },
    },
    {
      name: "GET_INFO argsz 1024",
      ask: (a) => a.info(1024),
      answer: "0 flags 0x3 argsz 1024 pgsizes 0xfffffffffffff000 cap_offset 24 " +
        "| 2 v1 at 24: pgsize_bitmap 0x1000 max_dirty_bitmap_size 268435456 " +
        "| 3 v1 at 56: avail 65535",
      hardware: {
        "5.10": hardwareInfo("0xfffffffffffff000", 68),
        "6.1": hardwareInfo("0x40201000", 68),
        "6.12": hardwareInfo("0x40201000", 72),
      },
    },
    {
      name: "GET_DEVICE_FD of a name that is not there",
      ask: (a) => void a.openDevice("no-such-device"),
      answer: "ENODEV",
    },
    {
      name: "GET_DEVICE_FD",
      ask: (a) => void (a.device = a.openDevice()),
      answer: "0",
    },
    {
      name: "UNSET_CONTAINER while the device is open",
      ask: (a) => void a.ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER),
      answer: "EBUSY",
    },
    { name: "close the device", ask: (a) => a.closeDevice(), answer: "0" },
    {
      name: "UNSET_CONTAINER",
      ask: (a) => void a.ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER),
      answer: "0",
    },
  ],
};

function hardwareInfo(pgsizes: string, rangesAt: number): string {
  return `0 flags 0x3 argsz 1024 pgsizes ${pgsizes} cap_offset 24 ` +
    "| 2 v1 at 24: pgsize_bitmap 0x1000 max_dirty_bitmap_size 268435456 " +
    `| 3 v1 at 56: avail 65535 | 1 v1 at ${rangesAt}: ` +
    "0x0-0xfedfffff 0xfef00000-0xffffffffffff";
}

export const TYPE1: CaseGroup = {
  name: "a container that is TYPE1, not TYPE1v2",
  opened: false,
  cases: [
    { name: "open", ask: (a) => a.open(VFIO_TYPE1_IOMMU), answer: "0" },
    {
      name: "START",
      ask: (a) => a.dirty(VFIO_IOMMU_DIRTY_PAGES_FLAG_START),
      answer: "EACCES",
    },
    { name: "anything, before it is read", ask: (a) => a.dirty(0x80, 0), answer: "EACCES" },
  ],
};
