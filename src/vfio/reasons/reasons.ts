/**
 * The reasons why a device cannot be opened or migrated, with their stable
 * codes, and what to do next.
 *
 * @module
 */

import { shellWord } from "../../base/shell.ts";
import { blocks, note } from "./reason_kinds.ts";
import type { GroupMember } from "./group_viability.ts";
import { isServed } from "../../vfio_user/mod.ts";
import type { SysfsDevice } from "../sysfs/sysfs.ts";
import { BUSY_HINT, type Reason, type ReasonCode } from "./unsupported_error.ts";

export type { GroupMember };

/**
 * `no-such-device`: sysfs does not have it.
 *
 * @param alike Devices that have the same address in other PCI domains.
 */
export function noSuchDevice(label: string, path: string, alike: readonly string[] = []): Reason {
  // What VFIO made of a device leads to it by this link.
  const own = path.startsWith("/sys/class/") ? path.replace(/\/device$/, "") : path;
  const folder = own.slice(0, own.lastIndexOf("/"));
  return blocks(
    "no-such-device",
    `There is no device "${label}": ${own} is not a device`,
    alike.length === 0
      ? `See what there is: ls ${shellWord(folder)}`
      : `There is ${alike.join(", ")}, in another PCI domain: name it with its domain`,
  );
}

/** `no-sysfs`: there is no /sys to look in. */
export function noSysfs(label: string | null): Reason {
  const what = label === null ? "devices" : `the device "${label}"`;
  return blocks(
    "no-sysfs",
    `Cannot look for ${what}: there is no sysfs in /sys`,
    "Mount it: mount -t sysfs sysfs /sys; a container usually has it",
  );
}

/** `no-iommu-group`: no IOMMU looks after it. */
export function noIommuGroup(device: SysfsDevice): Reason {
  if (isServed(device.path)) {
    return blocks(
      "no-iommu-group",
      `${device.name} is in no IOMMU group, and has no type1 container: it is served over a socket`,
      "Its dirty pages can be tracked by its own log alone, if it has one",
    );
  }
  if (device.bus === "mdev") {
    return blocks(
      "no-iommu-group",
      `${device.name} is in no IOMMU group`,
      "A mediated device gets one when its driver is bound, in a kernel with VFIO's groups " +
        "(CONFIG_VFIO_GROUP); without them it is opened by its own character device",
    );
  }
  return blocks(
    "no-iommu-group",
    `${device.name} is in no IOMMU group`,
    "Turn the IOMMU on in the firmware (VT-d, AMD-Vi, SMMU), and in the kernel if it is " +
      "off by default (on Intel: intel_iommu=on); see the kernel's log for DMAR, AMD-Vi or arm-smmu",
  );
}

/** `noiommu-group`: VFIO's unsafe mode without an IOMMU. */
export function noiommuGroup(device: SysfsDevice): Reason {
  return blocks(
    "noiommu-group",
    `${device.name} is in a group without an IOMMU (${device.group?.path})`,
    "Turn the IOMMU on; without one VFIO has no address space for a device",
  );
}

/** What is known of a node that cannot be opened. */
export interface MissingNode {
  /** The entry in sysfs of what it stands for; null if there is none. */
  readonly shown: string | null;
  /** Whether the node is there, and leads to nothing. */
  readonly stale: boolean;
  /** The nodes that are missing, this one among them. */
  readonly missing: readonly string[];
  /** What to do if the kernel does not have what it stands for. */
  readonly absent: string;
}

/** `no-vfio`, `no-group-node`, `no-cdev-node`, `no-iommufd`: a node that cannot be opened. */
export function missingNode(
  code: ReasonCode,
  path: string,
  { shown, stale, missing, absent }: MissingNode,
): Reason {
  const given = (missing.length === 0 ? [path] : missing).map((one) => `--device ${shellWord(one)}`)
    .join(" ");
  if (stale) {
    return blocks(
      code,
      `${path} leads to nothing: no driver of this kernel has its number`,
      `${absent}; in a container the node is perhaps an old one: start it anew with ${given}`,
    );
  }
  if (shown !== null) {
    return blocks(
      code,
      `There is no ${path} here, though the kernel has what it stands for (${shown})`,
      `The /dev of this container or chroot lacks it: start the container with ${given} ` +
        "(docker, podman), or bind the node into the chroot",
    );
  }
  return blocks(code, `There is no ${path}`, `${absent}; in a container also: ${given}`);
}

/**
 * `group-not-viable`: a driver of the host holds a device of the group.
 *
 * @param group Its number; null if it is not known.
 * @param members Its devices; null if sysfs does not show them.
 */
export function groupNotViable(
  group: number | null,
  members: readonly GroupMember[] | null,
): Reason {
  const devices = members ?? [];
  const sure = devices.filter(({ holds }) => holds === true);
  const perhaps = devices.filter(({ holds }) => holds === null);
  const held = sure.length > 0
    ? `held by ${list(sure)}`
    : perhaps.length > 0
    ? `held by ${perhaps.length > 1 ? "one of " : ""}${list(perhaps)}`
    : "a driver that is not VFIO's, or another user, has a device of it";
  return blocks(
    "group-not-viable",
    `IOMMU group ${group ?? "of the device"} is not viable: ${held}`,
    VIABLE_HINT + devicesOf(group),
  );
}

/** `group-viability-unknown`: a driver that may or may not keep the group from user space. */
export function groupPerhapsNotViable(group: number, members: readonly GroupMember[]): Reason {
  const perhaps = members.filter(({ holds }) => holds === null);
  return note(
    "group-viability-unknown",
    `IOMMU group ${group} is perhaps not viable: whether ${list(perhaps)} ` +
      `${perhaps.length > 1 ? "hold" : "holds"} it cannot be known from sysfs ` +
      "(a driver's driver_managed_dma)",
    `It shows when the group is opened. Should it not be viable: ${VIABLE_HINT}${devicesOf(group)}`,
  );
}

const VIABLE_HINT = "Bind every device of the group to a VFIO driver, or to none; if the host " +
  "needs one of them, move the device to another slot: slots decide which devices share a group: ";

function devicesOf(group: number | null): string {
  return `ls /sys/kernel/iommu_groups/${group ?? "N"}/devices`;
}

function list(members: readonly GroupMember[]): string {
  return members.map(({ device: { name, driver } }) => `${name} (${driver})`).join(", ");
}

/**
 * `firmware-region`: firmware wants memory mapped for the device, so it is not given away.
 *
 * @param group Its number; null if it is not known.
 * @param regions The memory; null if sysfs does not tell.
 */
export function firmwareRegion(group: number | null, regions: readonly string[] | null): Reason {
  const file = `/sys/kernel/iommu_groups/${group ?? "N"}/reserved_regions`;
  return blocks(
    "firmware-region",
    regions === null
      ? "The firmware keeps memory mapped for a device of the group (on Intel: an RMRR), so the " +
        `kernel does not give it away (${file} cannot be read)`
      : `The firmware keeps ${regions.join(", ")} mapped for a device of the group (on Intel: an ` +
        `RMRR), so the kernel does not give it away ("direct" in ${file})`,
    "No option of VFIO changes that: look for a firmware setting or update that releases the " +
      "device (its slot's shared memory, USB legacy support), or use another slot or device",
  );
}

/** `no-permission`: a node under /dev, or the like, may not be opened. */
export function noPermission(path: string, code: string, root = false): Reason {
  if (code === "EPERM") {
    return blocks(
      "no-permission",
      `Cannot open ${path}: EPERM, the device cgroup of this container or service forbids it`,
      `Start the container with --device ${shellWord(path)} (docker, podman); in a systemd unit: ` +
        `DeviceAllow=${path} rw`,
    );
  }
  return blocks(
    "no-permission",
    `Cannot open ${path}: ${code}, no permission for it`,
    root
      ? "For root it is not a matter of the node's owner: its file system is mounted nodev, or " +
        "SELinux or AppArmor forbids it, which the kernel's log tells"
      : `Run as root, or give the node to your user: sudo chown $USER ${shellWord(path)}`,
  );
}

/** `busy`: another process has it; the message is that of the BusyError. */
export function busy(message: string): Reason {
  return blocks("busy", message, BUSY_HINT);
}

/** `api-version`: a VFIO that this toolkit does not know. */
export function wrongApiVersion(version: number): Reason {
  return blocks("api-version", `VFIO's API version is ${version}, not 0`, "");
}

/** `no-type1v2`: the container has no TYPE1v2 IOMMU model. */
export function noType1v2(): Reason {
  return blocks(
    "no-type1v2",
    "The container does not offer the TYPE1v2 IOMMU model",
    "modprobe vfio_iommu_type1; platforms with another model (POWER's spapr) are not driven",
  );
}

/**
 * `unsafe-interrupts`: the IOMMU does not remap interrupts.
 *
 * @param module The module that refuses it; each has an option that allows it.
 */
export function unsafeInterrupts(module: "vfio_iommu_type1" | "iommufd"): Reason {
  return blocks(
    "unsafe-interrupts",
    `The IOMMU does not remap interrupts, so ${
      module === "iommufd" ? "iommufd" : "VFIO"
    } refuses to use it`,
    "Turn interrupt remapping on: in the firmware (VT-d or AMD-Vi, x2APIC), and take intremap=off " +
      "and nointremap off the kernel's command line. Only if that cannot be, and every user of " +
      "the device is trusted with the whole machine, as root: " +
      `echo Y > /sys/module/${module}/parameters/allow_unsafe_interrupts`,
  );
}

/** `vf-token`: a VF's token is missing, wrong, or not wanted. */
export function vfToken(name: string, given: boolean, code: string): Reason {
  if (code === "EINVAL") {
    return blocks("vf-token", `${name} does not take a VF token`, "Leave the token out");
  }
  return blocks(
    "vf-token",
    given ? `The VF token for ${name} is not the right one` : `${name} wants a VF token`,
    "Pass the UUID that the user of its physical function set",
    "pass-vf-token",
  );
}

/** `not-in-group`: the group does not have the device that sysfs shows in it. */
export function notInGroup(name: string, label: string): Reason {
  return blocks(
    "not-in-group",
    `The ${label} does not offer the device ${name}`,
    "Look whether its driver has just been unbound: " +
      "it must be bound to a VFIO driver while it is opened",
  );
}

/** `not-a-vfio-device`: an fd that is something else, or nothing. */
export function notVfioDevice(fd: number, code: string): Reason {
  return blocks(
    "not-a-vfio-device",
    code === "EBADF"
      ? `fd ${fd} is not open`
      : `fd ${fd} is not a VFIO device: VFIO_DEVICE_GET_INFO answers ${code}`,
    "Name the fd of the device itself, not that of its group or container: " +
      `ls -l /proc/self/fd/${fd}`,
  );
}

/** `migration-region-empty`: it is there, and has 0 bytes. */
export function migrationRegionEmpty(index: number): Reason {
  return blocks(
    "migration-region-empty",
    `The migration region (region ${index}) has size 0`,
    "The driver turned migration off for this device: look at its settings and the kernel log",
  );
}

/** `migration-region-unusable`: too small, or not to be read and written. */
export function migrationRegionUnusable(index: number, why: string): Reason {
  return blocks(
    "migration-region-unusable",
    `The migration region (region ${index}) cannot be used: ${why}`,
    "This is a bug in the driver: report it to its vendor",
  );
}

/** `broken-answer`: the driver answered something that cannot be true. */
export function brokenAnswer(message: string): Reason {
  return blocks("broken-answer", message, "This is a bug in the driver: report it to its vendor");
}

/** `no-container`: only the device's own fd is known. */
export function noContainer(label: string): Reason {
  return blocks(
    "no-container",
    `The container of ${label} is not known`,
    "Name the fd of its container as well",
    "pass-container",
  );
}

/** `no-reset`: a failed restore leaves the device as it is. */
export function noReset(): Reason {
  return note(
    "no-reset",
    "The device cannot be reset (VFIO_DEVICE_FLAGS_RESET is not set)",
    "After a failed restore, close and open it again",
  );
}
