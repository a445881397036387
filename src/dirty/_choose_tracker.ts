/**
 * Who is to track the pages that a device dirties.
 */

import { SysError } from "../kernel/error.ts";
import { AnswerError } from "../vfio/answer_error.ts";
import type { Type1Container } from "../vfio/container.ts";
import { DmaError } from "../vfio/dma_error.ts";
import type { FeatureDevice } from "../vfio/feature.ts";
import { UnsupportedError } from "../vfio/unsupported.ts";
import { LogTracker } from "./log_tracker.ts";
import { DirtyRangeError } from "./range_error.ts";
import type { DirtyTracker, TrackerName } from "./tracker.ts";
import { Type1Tracker } from "./type1_tracker.ts";

/** A tracker, and how it came to be this one. */
export interface ChosenTracker {
  /** It has not started. */
  readonly tracker: DirtyTracker;
  /** Why it is this one; null where it was asked for by name. */
  readonly reason: string | null;
}

/**
 * The tracker of a name; or for `auto` the device's log where it can be started
 * and reported, else type1.
 *
 * @throws {UnsupportedError} If there is none; for `auto` with the reasons of both.
 */
export function chooseTracker(
  wanted: TrackerName | "auto",
  device: FeatureDevice,
  container: Type1Container,
  pgsize: number,
): ChosenTracker {
  if (wanted === "type1") return { tracker: new Type1Tracker(container), reason: null };
  try {
    const tracker = new LogTracker(device, container, pgsize);
    const reason = "The device has a log of its own DMA, and the kernel reports it";
    return { tracker, reason: wanted === "device" ? null : reason };
  } catch (error) {
    if (wanted === "device" || !isRefusal(error)) throw error;
    return { tracker: type1Instead(container, error), reason: error.message };
  }
}

function type1Instead(container: Type1Container, refusal: Error): Type1Tracker {
  try {
    return new Type1Tracker(container);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    const more = refusal instanceof UnsupportedError ? refusal.reasons : [];
    throw new UnsupportedError([...error.reasons, ...more], { cause: error });
  }
}

/** Whatever keeps the log from being used, type1 may do. */
function isRefusal(error: unknown): error is Error {
  return [UnsupportedError, DmaError, DirtyRangeError, AnswerError, SysError]
    .some((kind) => error instanceof kind);
}
