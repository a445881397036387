/**
 * Causes in the process and its system: limits, rights, and files that are not what they should be.
 */

import { isRoot } from "../../reasons/evidence.ts";
import { tooManyFiles, tooManyFilesInSystem } from "../../reasons/file_limits.ts";
import { noPermission } from "../../reasons/reasons.ts";
import { because, type Causes, LOG } from "./_cause.ts";

/** The causes. */
export const PROCESS = {
  "no-memory": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "no-memory",
        "the kernel has no memory for it",
        "Free memory, or raise the limit of the memory cgroup that this process is in",
      ),
  },
  "no-fds": {
    kind: "failed",
    otherWay: false,
    reason: (failure) => {
      const { why, hint } = tooManyFiles(failure.kernel);
      return because(failure, "no-fds", why, hint);
    },
  },
  "no-files": {
    kind: "failed",
    otherWay: false,
    reason: (failure) => {
      const { why, hint } = tooManyFilesInSystem(failure.kernel);
      return because(failure, "no-fds", why, hint);
    },
  },
  "no-permission": {
    kind: "cannot",
    otherWay: true,
    reason: ({ kernel, path = "", error }) =>
      noPermission(path || error.object, error.code, isRoot(kernel) === true),
  },
  "device-cgroup": {
    kind: "cannot",
    otherWay: true,
    reason: ({ path = "", error }) => noPermission(path || error.object, error.code),
  },
  "noiommu-rights": {
    kind: "cannot",
    otherWay: false,
    look: ({ path, sysfs }) => /noiommu/.test(path ?? sysfs?.group?.path ?? ""),
    reason: (failure) =>
      because(
        failure,
        "no-permission",
        "a group without an IOMMU may be opened only with CAP_SYS_RAWIO",
        "Run as root; better, turn the IOMMU on",
      ),
  },
  "sysfs-unreadable": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "sysfs-unreadable",
        "this user may not read what sysfs says of the device",
        "Run as root, or let this user read /sys: some hardened systems close it",
      ),
  },
  "sysfs-broken": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(failure, "sysfs-unreadable", "the driver does not answer what is asked", LOG),
  },
  "bad-path": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "no-such-device",
        "the path leads to no device",
        "Name the device by its address, or by its folder below /sys/bus",
      ),
  },
  "wrong-file": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      because(
        failure,
        "wrong-file",
        "it is another kind of file",
        "See what it is: ls -l /dev/vfio /dev/iommu. The container's node is a character device " +
          "of 10, 196; an fd that is lent must be of the kind that it is named as",
      ),
  },
  "wrong-iommufd": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      because(
        failure,
        "wrong-file",
        "this file is not an iommufd",
        "See what it is: ls -l /dev/iommu. An fd that is lent as an iommufd must be one",
      ),
  },
} satisfies Causes;
