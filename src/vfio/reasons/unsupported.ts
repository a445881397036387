/**
 * Why a device cannot be used: reasons, and the errors that carry them.
 *
 * @module
 */

import { printable } from "../../text/mod.ts";

/** One reason, in a form for machines (code) and people (message, hint). */
export interface Reason {
  /** A stable word, one of those in reasons.ts and tracking_reasons.ts. */
  readonly code: string;
  /** What is so, in one sentence. */
  readonly message: string;
  /** What to do next; empty if nothing can be done. */
  readonly hint: string;
  /** Whether the device cannot be migrated because of it; else it is only worth knowing. */
  readonly blocks: boolean;
}

/**
 * A device that cannot be opened or migrated as things are: the system or the
 * device must change first. The message is that of the first reason.
 *
 * @example
 * ```ts
 * import { UnsupportedError } from "./unsupported.ts";
 * import assert from "node:assert/strict";
 *
 * const error = new UnsupportedError([
 *   { code: "no-such-device", message: "There is no such device", hint: "", blocks: true },
 * ]);
 * assert.equal(error.message, "There is no such device");
 * ```
 */
export class UnsupportedError extends Error {
  /** Always `UnsupportedError`. */
  override readonly name = "UnsupportedError";
  /** At least one reason, the first being the first that was met. */
  readonly reasons: readonly Reason[];

  /** Makes the error from its reasons. */
  constructor(reasons: readonly Reason[], options?: ErrorOptions) {
    super(printable(reasons[0]?.message ?? "Not supported"), options);
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
 * A device that somebody else uses (EBUSY): the same call may work later.
 *
 * @example
 * ```ts
 * import { BusyError } from "./unsupported.ts";
 * import assert from "node:assert/strict";
 *
 * const error = new BusyError("group /dev/vfio/12", [{ pid: 4242, comm: "qemu" }]);
 * assert.equal(error.message, "Cannot open group /dev/vfio/12: in use by qemu (pid 4242)");
 * ```
 */
export class BusyError extends Error {
  /** Always `BusyError`. */
  override readonly name = "BusyError";
  /** What is in use. */
  readonly what: string;
  /** Who holds it; empty if /proc does not tell. */
  readonly holders: readonly Holder[];
  /** Why it could not be opened the other way either, where that was tried before. */
  readonly reasons: readonly Reason[];
  /** What to do next. */
  readonly hint: string = BUSY_HINT;

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
    super(printable(`Cannot open ${what}: in use by ${who}`), options);
    this.holders = holders;
    this.reasons = reasons;
    this.what = what;
  }
}
