/**
 * Why a device cannot be used: reasons, and the errors that carry them.
 *
 * @module
 */

import { type Hint, type Remedy, VfiokitError } from "../../base/vfiokit_error.ts";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";

/** A stable word for a reason. */
export type ReasonCode =
  | "api-version"
  | "broken-answer"
  | "busy"
  | "no-such-device"
  | "no-sysfs"
  | "no-iommu-group"
  | "noiommu-group"
  | "group-not-viable"
  | "group-viability-unknown"
  | "firmware-region"
  | "no-permission"
  | "no-type1v2"
  | "unsafe-interrupts"
  | "vf-token"
  | "not-in-group"
  | "not-a-vfio-device"
  | "migration-region-empty"
  | "migration-region-unusable"
  | "no-container"
  | "no-reset"
  | "no-cdev"
  | "cdev-not-bound"
  | "no-ioas"
  | "no-type1-container"
  | "no-vgpu-type"
  | "not-bound-to-vfio"
  | "bridge"
  | "no-migration"
  | "needs-variant-driver"
  | "physical-function"
  | "no-dirty-capability"
  | "draft-dirty-tracking"
  | "no-device-log"
  | "device-log-refused"
  | "device-log-unreadable"
  | "no-iommufd-tracking"
  | "not-type1v2"
  | "cdev-refused"
  | "open-refused"
  | "group-refused"
  | "unsupported"
  | "no-memory"
  | "no-fds"
  | "sysfs-unreadable"
  | "no-vfio"
  | "no-group-node"
  | "no-cdev-node"
  | "no-iommufd"
  | "wrong-file"
  | "group-gone"
  | "dma-in-use"
  | "group-has-container"
  | "other-space"
  | "iommu-set"
  | "no-iommu-set"
  | "no-domain"
  | "memory-suspended"
  | "device-gone"
  | "no-power"
  | "reset-locked"
  | "driver-busy"
  | "driver-refuses"
  | "pinning"
  | "no-such-ioas"
  | "other-ioas"
  | "reserved-iova"
  | "no-server"
  | "server-silent"
  | "server-gone"
  | "not-vfio-user"
  | "open-failed";

/** One reason, in a form for machines (code) and people (message, hint). */
export interface Reason {
  /** A stable word. */
  readonly code: ReasonCode;
  /** What is so, in one sentence. */
  readonly message: string;
  /** What to do next; empty if nothing can be done. */
  readonly hint: string;
  /** What of this library helps, if the hint is about that. */
  readonly remedy?: Remedy | undefined;
  /** Whether the device cannot be migrated because of it; else it is only worth knowing. */
  readonly blocks: boolean;
}

/** What to do about a reason; null if nothing can be done. */
export function hintOfReason(reason: Reason | undefined): Hint | null {
  if (reason === undefined || reason.hint === "") return null;
  return { text: reason.hint, remedy: reason.remedy ?? null };
}

/**
 * A device that cannot be opened or migrated as things are: the system or the
 * device must change first. The message is that of the first reason.
 *
 * @example
 * ```ts
 * import { UnsupportedError } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const error = new UnsupportedError([
 *   { code: "no-such-device", message: "There is no such device", hint: "", blocks: true },
 * ]);
 * assert.equal(error.message, "There is no such device");
 * ```
 */
export class UnsupportedError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `UnsupportedError`. */
  override readonly name = "UnsupportedError";
  /** The first reason's code. */
  readonly code: ReasonCode;
  /** At least one reason, the first being the first that was met. */
  readonly reasons: readonly Reason[];

  /** Makes the error from its reasons. */
  constructor(reasons: readonly Reason[], options?: ErrorOptions) {
    super(printable(reasons[0]?.message ?? "Not supported"), options, hintOfReason(reasons[0]));
    this.code = reasons[0]?.code ?? "unsupported";
    this.reasons = reasons;
  }
}

/** What to do about a device that is in use. */
export const BUSY_HINT = "Stop the process that holds it, or take the device from it as fd:N";

/** A process that holds a device. */
export interface Holder {
  /** Its process id. */
  readonly pid: number;
  /** Its command name (at most 15 characters), empty if unreadable. */
  readonly comm: string;
}

/**
 * A device that another process uses (EBUSY): the same call may work later.
 *
 * @example
 * ```ts
 * import { BusyError } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const error = new BusyError("group /dev/vfio/12", [{ pid: 4242, comm: "qemu" }]);
 * assert.equal(error.message, "Cannot open group /dev/vfio/12: in use by qemu (pid 4242)");
 * ```
 */
export class BusyError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `BusyError`. */
  override readonly name = "BusyError";
  /** Always `busy`. */
  readonly code = "busy" as const;
  /** What is in use. */
  readonly what: string;
  /** The processes that hold it; empty if /proc does not show them. */
  readonly holders: readonly Holder[];
  /** Why it could not be opened the other way either, if that was tried before. */
  readonly reasons: readonly Reason[];

  /** Makes the error; `what` is what is in use. */
  constructor(
    what: string,
    holders: readonly Holder[],
    options?: ErrorOptions,
    reasons: readonly Reason[] = [],
  ) {
    const who = holders.length === 0
      ? "another process (which one cannot be seen from here)"
      : holders.map(({ pid, comm }) => `${comm === "" ? "process" : comm} (pid ${pid})`).join(", ");
    super(printable(`Cannot open ${what}: in use by ${who}`), options, BUSY_HINT);
    this.holders = holders;
    this.reasons = reasons;
    this.what = what;
  }
}
