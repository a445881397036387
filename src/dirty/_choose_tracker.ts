/**
 * Chooses the tracker of the pages that a device dirties.
 */

import { addCleanup, cleanupErrors } from "../base/cleanup.ts";
import { SysError } from "../kernel/sys_error.ts";
import type { AddressSpace } from "../vfio/dma/address_space.ts";
import { AnswerError } from "../vfio/device/answer_error.ts";
import { noIoas, noType1Container } from "../vfio/reasons/cdev_reasons.ts";
import type { Type1Container } from "../vfio/dma/container.ts";
import type { VfioDevice } from "../vfio/device/device.ts";
import { DmaError } from "../vfio/dma/dma_error.ts";
import { withoutType1 } from "../vfio/reasons/tracking_reasons.ts";
import { type Reason, UnsupportedError } from "../vfio/reasons/unsupported_error.ts";
import { IommufdTracker } from "./iommufd/iommufd_tracker.ts";
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
  /** Why neither the device nor its iommufd tracks. */
  readonly refusals: readonly Error[];

  constructor(label: string, refusals: readonly Error[]) {
    super([...refusals.flatMap(reasonsOf), noType1Container(label)], {
      // Its reasons are included already, without the hint about type1.
      cause: refusals[0] instanceof UnsupportedError ? refusals[0].cause : refusals[0],
    });
    this.refusals = refusals;
  }
}

/**
 * Returns the named tracker; for `auto`, the device's log if it can be started and reported, else
 * the page table of its iommufd if the IOMMU tracks there, else type1.
 *
 * @throws {NeedsContainer} For `auto`, if there is neither a log nor a container.
 * @throws {UnsupportedError} If there is no such tracker; for `auto`, with the reasons of all.
 */
export function chooseTracker(
  wanted: TrackerName | "auto",
  device: VfioDevice,
  space: AddressSpace,
  pgsize: number,
): ChosenTracker {
  const { container, ioas } = device;
  switch (wanted) {
    case "type1":
      if (container === null) throw new UnsupportedError([noType1Container(device.label)]);
      return { tracker: new Type1Tracker(container), reason: null };
    case "device":
      return { tracker: new LogTracker(device, space, pgsize), reason: null };
    case "iommufd":
      if (ioas === null) throw new UnsupportedError([noIoas(device.label)]);
      return { tracker: new IommufdTracker(device, ioas, pgsize), reason: null };
    case "auto":
      return chooseByTrying(device, space, pgsize);
  }
}

function chooseByTrying(device: VfioDevice, space: AddressSpace, pgsize: number): ChosenTracker {
  const { container, ioas, label } = device;
  const refusals: Error[] = [];
  const attempt = (make: () => DirtyTracker): DirtyTracker | null => {
    try {
      return make();
    } catch (error) {
      if (!isRefusal(error)) throw error;
      refusals.push(error);
      return null;
    }
  };
  const log = attempt(() => new LogTracker(device, space, pgsize));
  if (log !== null) {
    return {
      tracker: log,
      reason: "The device has a log of its own DMA, and the kernel reports it",
    };
  }
  const table = ioas && attempt(() => new IommufdTracker(device, ioas, pgsize));
  if (table !== null) return { tracker: table, reason: whyOthersDoNot(refusals) };
  if (container === null) throw new NeedsContainer(label, refusals);
  return { tracker: type1Instead(container, refusals), reason: whyOthersDoNot(refusals) };
}

function type1Instead(container: Type1Container, refusals: readonly Error[]): Type1Tracker {
  try {
    return new Type1Tracker(container);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    throw allRefuse(error, refusals);
  }
}

/** Nothing can track: neither type1 nor what was tried before. */
export function allRefuse(type1: UnsupportedError, before: readonly Error[]): UnsupportedError {
  const reasons = [...type1.reasons, ...before.flatMap(reasonsOf)];
  const error = new UnsupportedError(reasons, { cause: type1 });
  for (const each of before.flatMap(cleanupErrors)) addCleanup(error, each);
  return error;
}

/** Why the trackers that were tried do not track, and the errors of cleaning up after them. */
export function whyOthersDoNot(
  refusals: readonly Error[],
  cleanups: readonly Error[] = refusals.flatMap(cleanupErrors),
): string {
  const why = refusals.map(({ message }) => message).join("; ");
  if (cleanups.length === 0) return why;
  return `${why}; then, while cleaning up: ${cleanups.map(({ message }) => message).join("; ")}`;
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
