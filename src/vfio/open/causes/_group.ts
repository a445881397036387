/**
 * Causes in the group and the device itself: another user, another driver, or it is gone.
 */

import { groupNotViable, notInGroup } from "../../reasons/reasons.ts";
import { isVfioBound } from "../../sysfs/sysfs.ts";
import { shellWord } from "../../../base/shell.ts";
import {
  because,
  type Causes,
  isEmulated,
  isHeld,
  label,
  members,
  nodesOfGroup,
} from "./_cause.ts";

/** The causes. */
export const GROUP = {
  "group-gone": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      because(
        failure,
        "group-gone",
        "the last device of the group was unbound from its VFIO driver",
        "Bind the device to its VFIO driver again",
      ),
  },
  "group-in-use": {
    kind: "busy",
    otherWay: false,
    look: (failure) => isHeld(failure.kernel, nodesOfGroup(failure)),
    reason: (failure) =>
      because(
        failure,
        "busy",
        "another process has the group open",
        "Stop the process that holds it",
      ),
  },
  "cdev-in-use": {
    kind: "busy",
    otherWay: false,
    look: ({ kernel, sysfs }) => sysfs?.cdev ? isHeld(kernel, [sysfs.cdev]) : null,
    reason: (failure) =>
      because(
        failure,
        "busy",
        "another process has bound it to its own iommufd",
        "Stop the process that holds it",
      ),
  },
  "sibling-bound": {
    kind: "busy",
    otherWay: false,
    look: (failure) => {
      if (isEmulated(failure)) return false;
      const held = isHeld(failure.kernel, nodesOfGroup(failure));
      // Only a device with a VFIO driver can be bound.
      const others = members(failure)?.filter(({ device }) =>
        device.path !== failure.sysfs?.path && isVfioBound(device)
      );
      return held ?? (others?.length === 0 ? false : null);
    },
    reason: (failure) =>
      because(
        failure,
        "busy",
        "another process has a device of its group bound to its own iommufd",
        "Stop the process that holds it",
      ),
  },
  "not-viable": {
    kind: "cannot",
    otherWay: false,
    look: (failure) => {
      if (isEmulated(failure)) return false;
      const group = members(failure);
      if (group?.some(({ holds }) => holds === true)) return true;
      // If no driver holds it now, only one that came and went since can have: it is claimed here.
      const free = group?.every(({ holds }) => holds === false) === true;
      return free && failure.call !== "VFIO_GROUP_SET_CONTAINER" ? false : null;
    },
    reason: (failure) => groupNotViable(failure.group ?? null, members(failure)),
  },
  "dma-in-use": {
    kind: "cannot",
    otherWay: false,
    look: (failure) => {
      if (isEmulated(failure)) return false;
      // BIND returns this errno for another cause too. Only a driver that does not leave DMA to VFIO
      // gives the group another address space.
      const free = members(failure)?.every(({ holds }) => holds === false) === true;
      return free && failure.call === "VFIO_DEVICE_BIND_IOMMUFD" ? false : null;
    },
    reason: (failure) =>
      because(
        failure,
        "dma-in-use",
        "the kernel itself uses the group's DMA (an address space that a driver made, or PASIDs)",
        "Stop what uses the devices of the group: shared virtual memory (SVA, idxd), vDPA, a " +
          "driver of the host: ls -l " +
          `${shellWord(`/sys/kernel/iommu_groups/${failure.group ?? "N"}/devices`)}/*/driver`,
      ),
  },
  "group-has-container": {
    kind: "cannot",
    otherWay: false,
    look: ({ hasContainer }) => hasContainer?.() ?? null,
    reason: (failure) =>
      because(
        failure,
        "group-has-container",
        "the group is in a container already",
        "Pass on that container's fd as well as the group's",
      ),
  },
  "not-in-group": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) => notInGroup(label(failure), failure.error.object),
  },
  "device-gone": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      because(
        failure,
        "device-gone",
        "the device is gone, or its driver is being unbound",
        "See whether the device is still there and bound to its VFIO driver",
      ),
  },
} satisfies Causes;
