/**
 * The causes of the errnos of opening: what each is, how to detect it, and what to do.
 */

import type { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { exists, firmwareRegions, isRoot, remapsInterrupts } from "../reasons/evidence.ts";
import { type GroupMember, groupMembers } from "../reasons/group_viability.ts";
import { hasSince, kernelRelease } from "../reasons/kernel_release.ts";
import type { OpeningCall } from "./_opening_call.ts";
import { blocks } from "../reasons/reason.ts";
import { findHolders } from "../reasons/holders.ts";
import {
  firmwareRegion,
  groupNotViable,
  missingNode,
  noPermission,
  notInGroup,
  noType1v2,
  unsafeInterrupts,
  vfToken,
} from "../reasons/reasons.ts";
import { isVfioBound, type SysfsDevice } from "../sysfs/sysfs.ts";
import type { Holder, Reason, ReasonCode } from "../reasons/unsupported.ts";

/** What is known when a call fails; fields that are left out are unknown. */
export interface Situation {
  readonly kernel: Kernel;
  /** The node that was to be opened. */
  readonly path?: string | undefined;
  /** The number of the device's group. */
  readonly group?: number | null | undefined;
  /** What sysfs says of the device. */
  readonly sysfs?: SysfsDevice | undefined;
  /** The device's name on its bus. */
  readonly device?: string | undefined;
  /** Whether a VF token was given. */
  readonly token?: boolean | undefined;
  /** Whether the group has a container by now. */
  readonly hasContainer?: (() => boolean | null) | undefined;
  /** Whether the container had an IOMMU before. */
  readonly hadIommu?: boolean | undefined;
  /** Whether the address space is shared with another device, or lent. */
  readonly sharedSpace?: boolean | undefined;
}

/** A situation, and the call that failed in it. */
export interface Failure extends Situation {
  readonly call: OpeningCall;
  readonly error: SysError;
}

/** One cause. */
export interface Cause {
  /** What it means: it cannot work as things are, this attempt failed, or the device is in use. */
  readonly kind: "cannot" | "failed" | "busy";
  /** Whether it may help to open the device by its group instead of its character device. */
  readonly otherWay: boolean;
  /** Whether it is the cause; null if that cannot be seen. Without it, it always may be. */
  look?(failure: Failure): boolean | null;
  /** What it is, and what to do. */
  reason(failure: Failure): Reason;
}

/** A name in the table. */
export type CauseName = keyof typeof CAUSES;

/** Describes a failed call: `VFIO_SET_IOMMU of container /dev/vfio/vfio answers EPERM`. */
export function answered({ call, error, path = error.object }: Failure): string {
  const { object, code } = error;
  if (call.startsWith("VFIO_") || call.startsWith("IOMMU_")) {
    return `${call} of ${object} answers ${code}`;
  }
  return call === "read sysfs"
    ? `Reading ${object === "" ? "sysfs" : object} fails with ${code}`
    : `Opening ${path} fails with ${code}`;
}

const LOG = "See the kernel's log (dmesg): the driver may say there why";
const AGAIN = "Try again; if it lasts, see the kernel's log (dmesg)";

const label = ({ device, sysfs, error }: Failure): string => device ?? sysfs?.name ?? error.object;

/** A reason that begins with the answer of the call. */
function because(failure: Failure, code: ReasonCode, why: string, hint: string): Reason {
  return blocks(code, `${answered(failure)}: ${why}`, hint);
}

/** The devices of the group; null if they cannot be seen. */
function members({ kernel, group }: Situation): readonly GroupMember[] | null {
  return typeof group === "number" ? groupMembers(kernel, group) : null;
}

/** Who has one of these open; null if nobody can be seen, which proves nothing. */
function heldBy(kernel: Kernel, nodes: readonly string[]): true | null {
  return findHolders(kernel, nodes).length > 0 ? true : null;
}

/** The nodes whose open fds keep a group's device busy. */
export function nodesOfGroup(failure: Situation): string[] {
  const { group, path, sysfs } = failure;
  const own = sysfs?.group?.path ?? (typeof group === "number" ? `/dev/vfio/${group}` : undefined);
  const cdevs = (members(failure) ?? []).flatMap(({ device }) => device.cdev ?? []);
  return [
    ...new Set([path, own, sysfs?.cdev, ...cdevs].filter((node) => typeof node === "string")),
  ];
}

/** Who holds it, for a cause of the kind `busy`. */
export function holdersOf(name: CauseName, failure: Failure): Holder[] {
  const { kernel, sysfs } = failure;
  return findHolders(kernel, name === "cdev-in-use" ? [sysfs?.cdev ?? ""] : nodesOfGroup(failure));
}

/** Whether a VF's physical function is driven by vfio-pci, or a physical one has VFs: then a token counts. */
function tokenCounts({ kernel, sysfs, device, group }: Failure): boolean | null {
  const found = sysfs ??
    (members({ kernel, group }) ?? []).find((one) => one.device.name === device)?.device;
  if (found === undefined) return null;
  if (found.bus !== "pci") return false;
  const path = found.virtualFunction ? `${found.path}/physfn/driver` : `${found.path}/sriov_numvfs`;
  try {
    return found.virtualFunction
      ? /vfio/i.test(kernel.readLink(path))
      : Number(kernel.readText(path)) > 0;
  } catch {
    return found.virtualFunction ? null : false;
  }
}

function node(
  failure: Failure,
  code: ReasonCode,
  entry: string,
  absent: string,
  others: readonly string[],
): Reason {
  const { kernel, path = failure.error.object, error } = failure;
  const shown = exists(kernel, entry) === true ? entry : null;
  const missing = [path, ...others].filter((other) => exists(kernel, other) === false);
  // If the node exists and answers ENODEV or ENXIO, no driver has its device number.
  const stale = error.code !== "ENOENT";
  return missingNode(code, path, { shown, stale, missing, absent });
}

/** The calls in which it is iommufd that asks whether interrupts are remapped. */
const BY_IOMMUFD: readonly OpeningCall[] = ["VFIO_DEVICE_BIND_IOMMUFD", "VFIO_GROUP_GET_DEVICE_FD"];

/** All causes, by name. */
export const CAUSES = {
  "no-memory": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "no-memory",
        "the kernel has no memory for it",
        "Free memory, or " +
          "raise the limit of the memory cgroup that this process is in",
      ),
  },
  "no-fds": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "no-fds",
        "this process has as many files open as it may",
        "Raise the limit for the shell that starts it: ulimit -n 4096",
      ),
  },
  "no-files": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "no-fds",
        "the system has as many files open as it may",
        "Raise the limit, as root: sysctl fs.file-max",
      ),
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
        "a group without an IOMMU is for those with CAP_SYS_RAWIO",
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
        "Run as root, or open /sys to this user: some systems are hardened by closing it",
      ),
  },
  "sysfs-broken": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(failure, "sysfs-unreadable", "the driver cannot tell what is asked for", LOG),
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
  "no-container-node": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      node(
        failure,
        "no-vfio",
        "/sys/class/misc/vfio",
        "modprobe vfio_iommu_type1",
        failure.sysfs?.group ? [failure.sysfs.group.path] : [],
      ),
  },
  "no-group-node": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) => {
      const { kernel, path = "", sysfs } = failure;
      const bound = (sysfs?.vfioDevices.length ?? 0) > 0;
      const groupless = bound && exists(kernel, "/sys/class/vfio") === false;
      return node(
        failure,
        "no-group-node",
        `/sys/class/vfio/${path.slice(path.lastIndexOf("/") + 1)}`,
        groupless
          ? "This kernel is built without VFIO's groups (CONFIG_VFIO_GROUP): open the device by its " +
            "own character device"
          : "The node appears when a device of the group is bound to a VFIO driver",
        ["/dev/vfio/vfio"],
      );
    },
  },
  "no-cdev-node": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) => {
      const { path = "" } = failure;
      return node(
        failure,
        "no-cdev-node",
        `/sys/class/vfio-dev/${path.slice(path.lastIndexOf("/") + 1)}/dev`,
        "The device's driver has just been unbound, or its node is not made yet",
        ["/dev/iommu"],
      );
    },
  },
  "no-iommufd-node": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      node(
        failure,
        "no-iommufd",
        "/sys/class/misc/iommu",
        "modprobe iommufd (Linux has it from 6.2 on, where it is built with CONFIG_IOMMUFD); " +
          "without one a device is opened by its group",
        failure.sysfs?.cdev ? [failure.sysfs.cdev] : [],
      ),
  },
  "wrong-file": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      because(
        failure,
        "wrong-file",
        "it is not what it should be",
        "Look what it is: ls -l /dev/vfio /dev/iommu; the container's node is a character device " +
          "of 10, 196, and an fd that is lent must be of the kind that it is named as",
      ),
  },
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
    reason: (failure) => because(failure, "busy", "somebody has the group open", ""),
  },
  "cdev-in-use": {
    kind: "busy",
    otherWay: false,
    look: ({ kernel, sysfs }) => sysfs?.cdev ? heldBy(kernel, [sysfs.cdev]) : null,
    reason: (failure) =>
      because(failure, "busy", "somebody else has bound it", "Stop the process that holds it"),
  },
  "sibling-bound": {
    kind: "busy",
    otherWay: false,
    look: (failure) => {
      const held = heldBy(failure.kernel, nodesOfGroup(failure));
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
        "somebody else has a device of its group bound to an iommufd of their own",
        "Stop the process that holds it",
      ),
  },
  "not-viable": {
    kind: "cannot",
    otherWay: false,
    look: (failure) => {
      const group = members(failure);
      if (group?.some(({ holds }) => holds === true)) return true;
      // Where nobody holds it, only a driver that came and went since can have: it is claimed here.
      const free = group?.every(({ holds }) => holds === false) === true;
      return free && failure.call !== "VFIO_GROUP_SET_CONTAINER" ? false : null;
    },
    reason: (failure) => groupNotViable(failure.group ?? null, members(failure)),
  },
  "firmware-region": {
    kind: "cannot",
    otherWay: false,
    look: ({ kernel, group, error }) => {
      const regions = typeof group === "number" ? firmwareRegions(kernel, group) : null;
      if (regions === null || regions.length === 0) return regions === null ? null : false;
      // From 6.6 on every such device is refused, with EINVAL and before anything else; until then
      // Intel's IOMMU refuses it with EPERM, and others give it away.
      if (error.code === "EINVAL") return hasSince(kernelRelease(kernel), 6, 6) !== false;
      return remapsInterrupts(kernel) === true ? true : null;
    },
    reason: ({ kernel, group }) =>
      firmwareRegion(
        group ?? null,
        typeof group === "number" ? firmwareRegions(kernel, group) : null,
      ),
  },
  "unsafe-interrupts": {
    kind: "cannot",
    otherWay: true,
    look: ({ call, kernel, group, hadIommu }) => {
      // Of a container that has an IOMMU this is asked when a group joins, else when it gets one.
      if (call === "VFIO_GROUP_SET_CONTAINER" && hadIommu === false) return false;
      const remaps = remapsInterrupts(kernel);
      if (remaps !== false) return remaps === null ? null : false;
      // A type1 container has checked this before.
      if (call === "VFIO_GROUP_GET_DEVICE_FD") return null;
      // Both may apply; then both must be fixed.
      const regions = typeof group === "number" ? firmwareRegions(kernel, group) : null;
      return (regions ?? []).length > 0 ? null : true;
    },
    reason: ({ call }) =>
      unsafeInterrupts(BY_IOMMUFD.includes(call) ? "iommufd" : "vfio_iommu_type1"),
  },
  "dma-in-use": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "dma-in-use",
        "the kernel itself uses the group's DMA (an address space of a driver's own, or PASIDs)",
        "Stop what uses the devices of the group: shared virtual memory (SVA, idxd), vDPA, a " +
          `driver of the host: ls -l /sys/kernel/iommu_groups/${
            failure.group ?? "N"
          }/devices/*/driver`,
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
  "other-space": {
    kind: "cannot",
    otherWay: true,
    look: ({ hadIommu }) => hadIommu === false ? false : null,
    reason: (failure) =>
      because(
        failure,
        "other-space",
        "what is mapped in the container lies where this group's IOMMU cannot map it",
        "Open the device in a container of its own, or map elsewhere: " +
          `cat /sys/kernel/iommu_groups/${failure.group ?? "N"}/reserved_regions`,
      ),
  },
  "iommu-set": {
    kind: "cannot",
    otherWay: false,
    look: ({ hadIommu }) => hadIommu === undefined ? null : false,
    reason: (failure) =>
      because(failure, "iommu-set", "somebody else chose the container's IOMMU meanwhile", AGAIN),
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
  "no-type1v2": {
    kind: "cannot",
    otherWay: true,
    look: () => null,
    reason: () => noType1v2(),
  },
  "no-domain": {
    kind: "cannot",
    otherWay: true,
    look: () => null,
    reason: (failure) =>
      because(
        failure,
        "no-domain",
        "the IOMMU's driver makes no address space for the device that user space could fill",
        LOG,
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
        "Look whether it is still there, and bound to its VFIO driver",
      ),
  },
  "vf-token-wanted": {
    kind: "cannot",
    otherWay: false,
    look: tokenCounts,
    reason: (failure) => vfToken(label(failure), failure.token === true, "EACCES"),
  },
  "vf-token-too-early": {
    kind: "cannot",
    otherWay: true,
    look: ({ kernel, token }) => {
      if (token !== true) return false;
      const since = hasSince(kernelRelease(kernel), 6, 17);
      return since === null ? null : !since;
    },
    reason: (failure) =>
      blocks(
        "vf-token",
        `${label(failure)} does not take a VF token by its character device`,
        "Leave the token out if it wants none. Linux takes it there from 6.17 on; before, it is " +
          "checked where the device is opened by its group",
      ),
  },
  "vf-token-unwanted": {
    kind: "cannot",
    otherWay: true,
    look: (failure) => {
      if (failure.token !== true) return false;
      const counts = tokenCounts(failure);
      return counts === null ? null : !counts;
    },
    reason: (failure) => vfToken(label(failure), true, "EINVAL"),
  },
  "runtime-pm": {
    kind: "cannot",
    otherWay: false,
    look: (failure) => tokenCounts(failure) === true ? false : null,
    reason: (failure) =>
      because(
        failure,
        "no-power",
        "the device cannot be woken: its power management is off while it sleeps",
        "Try again once the machine is wholly awake; if it lasts, see the kernel's log (dmesg)",
      ),
  },
  "no-power": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "no-power",
        "the device does not answer: it does not come out of its sleep, or is broken",
        "See the kernel's log (dmesg); of a virtual function, look at the physical one as well. If " +
          "it stays so, turn the machine off and on",
      ),
  },
  "reset-locked": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "reset-locked",
        "somebody holds the device's lock, so it cannot be reset as it is opened",
        AGAIN,
      ),
  },
  "driver-busy": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "driver-busy",
        "the device's driver says that it is in use, or not ready yet",
        "Try again; look who has it, and whether its physical function is being reset",
      ),
  },
  "driver-wants-kvm": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "driver-refuses",
        "the device's driver opens it only in a process that has a virtual machine (KVM)",
        "Such a device cannot be opened without one",
      ),
  },
  "driver-refuses": {
    kind: "cannot",
    otherWay: true,
    look: () => null,
    reason: (failure) =>
      because(failure, "driver-refuses", "the device's driver does not open it", LOG),
  },
  "not-coherent": {
    kind: "cannot",
    otherWay: true,
    look: () => null,
    reason: (failure) =>
      because(
        failure,
        "not-coherent",
        "the device's DMA goes past the processor's caches, and iommufd takes no such device",
        "Open it by its group",
      ),
  },
  "no-bind": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      because(
        failure,
        "cdev-refused",
        "the kernel does not know the request for this device",
        "Linux has it from 6.6 on; before, a device is opened by its group",
      ),
  },
  "wrong-iommufd": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      because(
        failure,
        "wrong-file",
        "the iommufd is none",
        "Look what it is: ls -l /dev/iommu; an fd that is lent as an iommufd must be one",
      ),
  },
  "ids-used-up": {
    kind: "failed",
    otherWay: true,
    reason: (failure) =>
      because(failure, "no-memory", "the iommufd has no number left for an IOAS", "Open a new one"),
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
    look: (failure) =>
      failure.error.code === "EEXIST" || (members(failure)?.length ?? 2) > 1 ? null : false,
    reason: (failure) =>
      because(
        failure,
        "other-ioas",
        "a device of its group, or it itself, is attached to another IOAS",
        "All devices of a group share one: attach it to that",
      ),
  },
  "reserved-iova": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "reserved-iova",
        "what is mapped in the IOAS lies where the device's IOMMU cannot map it",
        "Map elsewhere, or open the device with an IOAS of its own: " +
          `cat /sys/kernel/iommu_groups/${failure.group ?? "N"}/reserved_regions`,
      ),
  },
} satisfies Record<string, Cause>;
