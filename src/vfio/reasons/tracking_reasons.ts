/**
 * The reasons why dirty pages cannot be tracked, with their stable codes, and
 * what to do next.
 *
 * @module
 */

import { blocks, note } from "./reason_kinds.ts";
import type { Reason } from "./unsupported_error.ts";

/** The reasons against a device's log if type1 cannot track either: without that remedy. */
export function withoutType1(reasons: readonly Reason[]): Reason[] {
  return reasons.map(({ remedy, ...reason }) =>
    remedy === undefined || remedy === "track-by-type1" ? reason : { ...reason, remedy }
  );
}

/** `no-dirty-capability`: the container does not track dirty pages. */
export function noDirtyCapability(): Reason {
  return note(
    "no-dirty-capability",
    "The container does not track dirty pages (no MIGRATION capability)",
    "The device's own state can be saved; memory that it writes by DMA can only be taken " +
      "whole, while it is stopped. Linux has the capability from 5.8 on",
  );
}

/** `draft-dirty-tracking`: the container has the interface of a draft, which is not supported. */
export function draftDirtyTracking(): Reason {
  return note(
    "draft-dirty-tracking",
    "The container announces dirty page tracking by the flag of a draft " +
      "(VFIO_IOMMU_INFO_DIRTY_PGS), and has no MIGRATION capability",
    "The draft's interface is not supported: run Linux 5.8 or later, which has the capability",
  );
}

/** `no-device-log`: the device does not log its DMA. */
export function noDeviceLog(feature: string, errno: string): Reason {
  return note(
    "no-device-log",
    `The device has no log of its own DMA (${feature}: ${errno})`,
    "Of the drivers in Linux, those for mlx5 and pds log",
    "track-by-type1",
  );
}

/** `device-log-refused`: the device cannot log this memory. */
export function deviceLogRefused(errno: string): Reason {
  return note(
    "device-log-refused",
    `The device's log does not take this much memory (DMA_LOGGING_START: ${errno})`,
    "Track less memory at a time",
    "track-by-type1",
  );
}

/** `device-log-unreadable`: the log can be started, and not read. */
export function deviceLogUnreadable(errno: string): Reason {
  return note(
    "device-log-unreadable",
    `The device has a log of its DMA that the kernel cannot report (DMA_LOGGING_REPORT: ${errno})`,
    "Linux 6.12 and later report it only if they are built with CONFIG_IOMMUFD",
    "track-by-type1",
  );
}

/** `no-iommufd-tracking`: no page table of an iommufd can track what this device writes. */
export function noIommufdTracking(why: string): Reason {
  return note(
    "no-iommufd-tracking",
    `No page table of an iommufd can track what the device writes: ${why}`,
    "Linux 6.7 and later have it for IOMMU hardware that tracks, such as AMD's and Intel's of " +
      "recent servers; mediated devices have none behind them",
    "track-by-type1",
  );
}

/** `not-type1v2`: the container was given the older TYPE1 model. */
export function notType1v2(): Reason {
  return blocks(
    "not-type1v2",
    "The container has the TYPE1 IOMMU model, which does not track dirty pages",
    "Its owner must choose TYPE1v2 (VFIO_SET_IOMMU)",
  );
}
