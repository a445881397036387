/**
 * Causes in the IOMMU and in address spaces.
 */

import { firmwareRegions, remapsInterrupts } from "../../reasons/evidence.ts";
import { hasSince, kernelRelease } from "../../reasons/kernel_release.ts";
import { firmwareRegion, noType1v2, unsafeInterrupts } from "../../reasons/reasons.ts";
import type { OpeningCall } from "../opening_call.ts";
import {
  AGAIN,
  because,
  type Causes,
  isEmulated,
  LOG,
  members,
  type OpeningFailure,
  type Situation,
} from "./_cause.ts";

/** The calls in which iommufd checks whether interrupts are remapped. */
const BY_IOMMUFD: readonly OpeningCall[] = ["VFIO_DEVICE_BIND_IOMMUFD", "VFIO_GROUP_GET_DEVICE_FD"];

/** The memory that firmware keeps mapped for the group; null if that cannot be seen. */
function keptByFirmware({ kernel, group }: Situation): readonly string[] | null {
  return typeof group === "number" ? firmwareRegions(kernel, group) : null;
}

/**
 * Whether the kernel's core refuses a device that firmware keeps memory mapped for, with EINVAL and
 * before anything else: from 6.6 on. Before, Intel's IOMMU refuses it with EPERM, and others give it
 * away.
 */
function refusedByCore({ kernel }: Situation): boolean | null {
  return hasSince(kernelRelease(kernel), 6, 6);
}

/** The command that lists what a group cannot map. */
function reservedRegions({ group }: OpeningFailure): string {
  return `cat /sys/kernel/iommu_groups/${group ?? "N"}/reserved_regions`;
}

/** The causes. */
export const IOMMU = {
  "firmware-region": {
    kind: "cannot",
    otherWay: false,
    look: (failure) => {
      if (isEmulated(failure)) return false;
      const regions = keptByFirmware(failure);
      if (regions === null || regions.length === 0) return regions === null ? null : false;
      const { kernel, error } = failure;
      const byCore = refusedByCore(failure);
      if (error.code === "EINVAL") return byCore !== false;
      if (byCore === true) return false;
      return remapsInterrupts(kernel) === true ? true : null;
    },
    reason: (failure) => firmwareRegion(failure.group ?? null, keptByFirmware(failure)),
  },
  "unsafe-interrupts": {
    kind: "cannot",
    otherWay: true,
    look: (failure) => {
      if (isEmulated(failure)) return false;
      const { call, kernel, hadIommu } = failure;
      // A container that has an IOMMU checks this when a group joins, others when they get one.
      if (call === "VFIO_GROUP_SET_CONTAINER" && hadIommu === false) return false;
      const remaps = remapsInterrupts(kernel);
      if (remaps !== false) return remaps === null ? null : false;
      // A type1 container has checked this before.
      if (call === "VFIO_GROUP_GET_DEVICE_FD") return null;
      // Both may apply; then both must be fixed.
      const kept = (keptByFirmware(failure) ?? []).length > 0 && refusedByCore(failure) !== true;
      return kept ? null : true;
    },
    reason: ({ call }) =>
      unsafeInterrupts(BY_IOMMUFD.includes(call) ? "iommufd" : "vfio_iommu_type1"),
  },
  "no-domain": {
    kind: "cannot",
    otherWay: true,
    look: (failure) => isEmulated(failure) ? false : null,
    reason: (failure) =>
      because(
        failure,
        "no-domain",
        "the IOMMU's driver has no address space for the device that user space can map into",
        LOG,
      ),
  },
  "no-type1v2": {
    kind: "cannot",
    otherWay: true,
    look: () => null,
    reason: () => noType1v2(),
  },
  "iommu-set": {
    kind: "cannot",
    otherWay: false,
    look: ({ hadIommu }) => hadIommu === undefined ? null : false,
    reason: (failure) =>
      because(failure, "iommu-set", "another process chose the container's IOMMU meanwhile", AGAIN),
  },
  "no-iommu-set": {
    kind: "cannot",
    otherWay: true,
    look: ({ hasContainer }) => {
      const has = hasContainer?.() ?? null;
      return has === null ? null : !has;
    },
    reason: (failure) =>
      because(
        failure,
        "no-iommu-set",
        "the group has no container with an IOMMU: it had none, or left it",
        "Put the group into a container and choose its IOMMU first (VFIO_GROUP_SET_CONTAINER, " +
          "VFIO_SET_IOMMU)",
      ),
  },
  "other-space": {
    kind: "cannot",
    otherWay: true,
    look: ({ hadIommu }) => hadIommu === false ? false : null,
    reason: (failure) =>
      because(
        failure,
        "other-space",
        "this group's IOMMU cannot map what is mapped in the container",
        `Open the device in another container, or map elsewhere: ${reservedRegions(failure)}`,
      ),
  },
  "memory-suspended": {
    kind: "cannot",
    otherWay: true,
    look: ({ hadIommu }) => hadIommu === false ? false : null,
    reason: (failure) =>
      because(
        failure,
        "memory-suspended",
        "the container's mappings have no addresses (VFIO_DMA_UNMAP_FLAG_VADDR), as during a " +
          "live update of their owner",
        "Try again once their owner has set the addresses (VFIO_DMA_MAP_FLAG_VADDR)",
      ),
  },
  "pinning": {
    kind: "failed",
    otherWay: false,
    look: ({ sharedSpace }) => sharedSpace === true ? null : false,
    reason: (failure) =>
      because(
        failure,
        "pinning",
        "what is mapped in the IOAS must be locked in memory for the device, and cannot be",
        "Raise the limit for the shell that starts it (as root: ulimit -l unlimited), or map less",
      ),
  },
  "reserved-iova": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "reserved-iova",
        "the device's IOMMU cannot map what is mapped in the IOAS",
        `Map elsewhere, or open the device with another IOAS: ${reservedRegions(failure)}`,
      ),
  },
  "no-ioas": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      because(
        failure,
        "no-such-ioas",
        "the iommufd has no IOAS of that number",
        "Name the IOAS that the lender of the iommufd made",
      ),
  },
  "other-ioas": {
    kind: "cannot",
    otherWay: true,
    look: (failure) => {
      if (failure.error.code === "EEXIST") return null;
      return isEmulated(failure) || members(failure)?.length === 1 ? false : null;
    },
    reason: (failure) =>
      because(
        failure,
        "other-ioas",
        "a device of its group, or it itself, is attached to another IOAS",
        "All devices of a group share one IOAS: attach the device to that",
      ),
  },
  "ids-used-up": {
    kind: "failed",
    otherWay: true,
    reason: (failure) =>
      because(failure, "no-memory", "the iommufd has no number left for an IOAS", "Open a new one"),
  },
} satisfies Causes;
