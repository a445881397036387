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
import { type Reason, UnsupportedError } from "../vfio/reasons/unsupported.ts";
import { LogTracker } from "./log/log_tracker.ts";
import { DirtyRangeError } from "./range_error.ts";
import type { DirtyTracker, TrackerName } from "./tracker.ts";
import { Type1Tracker } from "./type1/type1_tracker.ts";

/** A tracker, and how it came to be this one. */
export interface ChosenTracker {
  /** It has not started. */
  readonly tracker: DirtyTracker;
  /** Why it is this one; null if it was asked for by name. */
  readonly reason: string | null;
}

/** That only a type1 container could track, and the device has none. */
export class NeedsContainer extends UnsupportedError {
  /** Why the device does not track by itself. */
  readonly refusal: Error;

  constructor(label: string, refusal: Error) {
    super([...reasonsOf(refusal), noType1Container(label)], {
      // Its reasons are here already, without the hint to type1.
      cause: refusal instanceof UnsupportedError ? refusal.cause : refusal,
    });
    this.refusal = refusal;
  }
}

/**
 * The tracker of a name; or for `auto` the device's log where it can be started
 * and reported, else type1.
 *
 * @throws {NeedsContainer} For `auto`, if there is no log, and no container.
 * @throws {UnsupportedError} If there is none; for `auto` with the reasons of both.
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

/** That type1 cannot track, nor the device's log. */
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

/** Whatever keeps the log from being used, type1 may do. */
function isRefusal(error: unknown): error is Error {
  return [UnsupportedError, DmaError, DirtyRangeError, AnswerError, SysError]
    .some((kind) => error instanceof kind);
}
