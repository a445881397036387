/**
 * Chooses the tracker of the pages that a device dirties.
 */

import { addCleanup, cleanupErrors } from "../base/cleanup.ts";
import { SysError } from "../kernel/sys_error.ts";
import type { AddressSpace } from "../vfio/dma/address_space.ts";
import { AnswerError } from "../vfio/device/answer_error.ts";
import { noType1Container } from "../vfio/reasons/cdev_reasons.ts";
import type { Type1Container } from "../vfio/dma/container.ts";
import type { VfioDevice } from "../vfio/device/device.ts";
import { DmaError } from "../vfio/dma/dma_error.ts";
import { withoutType1 } from "../vfio/reasons/tracking_reasons.ts";
import { type Reason, UnsupportedError } from "../vfio/reasons/unsupported_error.ts";
import { LogTracker } from "./log/log_tracker.ts";
import { DirtyRangeError } from "./range_error.ts";
import type { DirtyTracker, TrackerName } from "./tracker.ts";
import { Type1Tracker } from "./type1/type1_tracker.ts";

/** A tracker, and why it was chosen. */
export interface ChosenTracker {
  /** The tracker, not started. */
  readonly tracker: DirtyTracker;
  /** Why it was chosen; null if the caller named it. */
  readonly reason: string | null;
}

/** Only a type1 container could track, and the device has none. */
export class NeedsContainer extends UnsupportedError {
  /** Why the device does not track by itself. */
  readonly refusal: Error;

  constructor(label: string, refusal: Error) {
    super([...reasonsOf(refusal), noType1Container(label)], {
      // Its reasons are included already, without the hint about type1.
      cause: refusal instanceof UnsupportedError ? refusal.cause : refusal,
    });
    this.refusal = refusal;
  }
}

/**
 * Returns the named tracker; for `auto`, the device's log if it can be started and reported, else
 * type1.
 *
 * @throws {NeedsContainer} For `auto`, if there is neither a log nor a container.
 * @throws {UnsupportedError} If there is no such tracker; for `auto`, with the reasons of both.
 */
export function chooseTracker(
  wanted: TrackerName | "auto",
  device: VfioDevice,
  space: AddressSpace,
  pgsize: number,
): ChosenTracker {
  const { container } = device;
  if (wanted === "type1") {
    if (container === null) throw new UnsupportedError([noType1Container(device.label)]);
    return { tracker: new Type1Tracker(container), reason: null };
  }
  try {
    const tracker = new LogTracker(device, space, pgsize);
    const reason = "The device has a log of its own DMA, and the kernel reports it";
    return { tracker, reason: wanted === "device" ? null : reason };
  } catch (error) {
    if (wanted === "device" || !isRefusal(error)) throw error;
    if (container === null) throw new NeedsContainer(device.label, error);
    return { tracker: type1Instead(container, error), reason: withCleanup(error, error) };
  }
}

function type1Instead(container: Type1Container, refusal: Error): Type1Tracker {
  try {
    return new Type1Tracker(container);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    throw bothRefuse(error, refusal);
  }
}

/** Neither type1 nor the device's log can track. */
export function bothRefuse(type1: UnsupportedError, log: Error): UnsupportedError {
  const error = new UnsupportedError([...type1.reasons, ...reasonsOf(log)], { cause: type1 });
  for (const each of cleanupErrors(log)) addCleanup(error, each);
  return error;
}

/** Why the device does not track, and the errors of the cleanup after `failure`. */
export function withCleanup({ message }: Error, failure: Error): string {
  const after = cleanupErrors(failure).map((each) => each.message);
  return after.length === 0 ? message : `${message}; then, while cleaning up: ${after.join("; ")}`;
}

/** Why there is no log, if type1 cannot track either. */
function reasonsOf(refusal: Error): readonly Reason[] {
  return refusal instanceof UnsupportedError ? withoutType1(refusal.reasons) : [];
}

/** Whatever prevents the use of the log, type1 may work. */
function isRefusal(error: unknown): error is Error {
  return [UnsupportedError, DmaError, DirtyRangeError, AnswerError, SysError]
    .some((kind) => error instanceof kind);
}
