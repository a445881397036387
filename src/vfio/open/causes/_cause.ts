/**
 * What a cause of a failed call is, and what several causes look at.
 */

import { printable } from "../../../base/printable.ts";
import type { SysError } from "../../../kernel/sys_error.ts";
import type { Kernel } from "../../../kernel/kernel.ts";
import { type GroupMember, groupMembers } from "../../reasons/group_viability.ts";
import { findHolders } from "../../reasons/holders.ts";
import { blocks } from "../../reasons/reason_kinds.ts";
import type { Reason, ReasonCode } from "../../reasons/unsupported_error.ts";
import type { SysfsDevice } from "../../sysfs/sysfs.ts";
import type { OpeningCall } from "../opening_call.ts";

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
export interface OpeningFailure extends Situation {
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
  look?(failure: OpeningFailure): boolean | null;
  /** What it is, and what to do. */
  reason(failure: OpeningFailure): CauseReason;
}

/** Causes by name. */
export type Causes = Readonly<Record<string, Cause>>;

/** What to do if the driver alone knows why. */
export const LOG = "See the kernel's log (dmesg): the driver may say why there";
/** What to do about something that passes. */
export const AGAIN = "Try again; if it lasts, see the kernel's log (dmesg)";

/** Describes a failed call: `VFIO_SET_IOMMU of container /dev/vfio/vfio answers EPERM`. */
export function answered({ call, error, path = error.object }: OpeningFailure): string {
  const { object, code } = error;
  if (call.startsWith("VFIO_") || call.startsWith("IOMMU_")) {
    return `${call} of ${object} answers ${code}`;
  }
  return call === "read sysfs"
    ? `Reading ${object === "" ? "sysfs" : object} fails with ${code}`
    : `Opening ${path} fails with ${code}`;
}

/** A reason, and the part of its message after the answer of the call, if it begins with that. */
export interface CauseReason extends Reason {
  readonly why?: string;
}

/** A reason that begins with the answer of the call. */
export function because(
  failure: OpeningFailure,
  code: ReasonCode,
  why: string,
  hint: string,
): CauseReason {
  return { ...blocks(code, `${answered(failure)}: ${why}`, hint), why: printable(why) };
}

/** The device, as a message names it. */
export function label({ device, sysfs, error }: OpeningFailure): string {
  return device ?? sysfs?.name ?? error.object;
}

/** The devices of the group; null if they cannot be seen. */
export function members({ kernel, group }: Situation): readonly GroupMember[] | null {
  return typeof group === "number" ? groupMembers(kernel, group) : null;
}

/**
 * Whether no IOMMU stands behind the device: a mediated one, whose driver does its DMA for it. Its
 * group, if it has one, is VFIO's own.
 */
export function isEmulated(failure: Situation): boolean {
  if (failure.sysfs !== undefined) return failure.sysfs.bus === "mdev";
  const devices = members(failure) ?? [];
  return devices.length > 0 && devices.every(({ device }) => device.bus === "mdev");
}

/** Whether one of these is open in a process; null if none can be seen, which proves nothing. */
export function isHeld(kernel: Kernel, nodes: readonly string[]): true | null {
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
