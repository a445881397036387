/**
 * Causes in /dev: a node is missing, or no driver has its number.
 */

import { exists } from "../../reasons/evidence.ts";
import { missingNode } from "../../reasons/reasons.ts";
import type { Reason, ReasonCode } from "../../reasons/unsupported_error.ts";
import type { Causes, OpeningFailure } from "./_cause.ts";

/** What belongs to a node. */
interface NodeFacts {
  /** Its entry in sysfs, which is there if the kernel has what the node is of. */
  readonly entry: string;
  /** What to do if the entry is absent. */
  readonly absent: string;
  /** Other nodes that may be missing, too. */
  readonly others: readonly string[];
}

function node(
  failure: OpeningFailure,
  code: ReasonCode,
  { entry, absent, others }: NodeFacts,
): Reason {
  const { kernel, path = failure.error.object, error } = failure;
  const shown = exists(kernel, entry) === true ? entry : null;
  const missing = [path, ...others].filter((other) => exists(kernel, other) === false);
  // If the node exists and answers ENODEV or ENXIO, no driver has its device number.
  const stale = error.code !== "ENOENT";
  return missingNode(code, path, { shown, stale, missing, absent });
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The causes. */
export const NODES = {
  "no-container-node": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      node(failure, "no-vfio", {
        entry: "/sys/class/misc/vfio",
        absent: "modprobe vfio_iommu_type1",
        others: failure.sysfs?.group ? [failure.sysfs.group.path] : [],
      }),
  },
  "no-group-node": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) => {
      const { kernel, path = "", sysfs } = failure;
      const bound = (sysfs?.vfioDevices.length ?? 0) > 0;
      const groupless = bound && exists(kernel, "/sys/class/vfio") === false;
      return node(failure, "no-group-node", {
        entry: `/sys/class/vfio/${nameOf(path)}`,
        absent: groupless
          ? "This kernel is built without VFIO's groups (CONFIG_VFIO_GROUP): open the device by its " +
            "own character device"
          : "The node appears when a device of the group is bound to a VFIO driver",
        others: ["/dev/vfio/vfio"],
      });
    },
  },
  "no-cdev-node": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      node(failure, "no-cdev-node", {
        entry: `/sys/class/vfio-dev/${nameOf(failure.path ?? "")}/dev`,
        absent: "The device's driver has just been unbound, or its node is not made yet",
        others: ["/dev/iommu"],
      }),
  },
  "no-iommufd-node": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      node(failure, "no-iommufd", {
        entry: "/sys/class/misc/iommu",
        absent: "modprobe iommufd (Linux has it from 6.2 on, if it is built with " +
          "CONFIG_IOMMUFD); without one a device is opened by its group",
        others: failure.sysfs?.cdev ? [failure.sysfs.cdev] : [],
      }),
  },
} satisfies Causes;
