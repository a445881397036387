/**
 * Whether a running device has the state that it was given.
 *
 * @module
 */

import type { CheckContext } from "./context.ts";
import { difference } from "./state_bytes.ts";
import type { Stream } from "./v2/v2_device.ts";

/** How often a running device is restored that seems to have another state. */
const TRIES = 3;
/** How long it runs between two saves, in milliseconds. */
const RUN_MS = 200;

/** A restore that is judged, and done again if the device may have changed since. */
export interface JudgedRestore {
  /** Restores and saves the running device; answers how its state differs, null if it does not. */
  readonly restore: () => string | null;
  /** Saves the running device, which runs on. */
  readonly save: () => Stream;
  /** What has to be, in words. */
  readonly expected: string;
}

/**
 * Judges that a running device has the state that it was given.
 *
 * @throws {Finding} `fail` if it has another one each time, and does not change while it runs;
 * `unclear` if it changes: then its states say nothing of a restore.
 */
export function judgeRestore(
  context: CheckContext,
  { restore, save, expected }: JudgedRestore,
): void {
  for (let turn = 1;; turn += 1) {
    const found = restore();
    if (found === null) return;
    context.pause(RUN_MS);
    const state = save();
    context.pause(RUN_MS);
    if (difference(state, save()) !== null) context.unclear("the device changes while it runs");
    context.expect(turn < TRIES, expected, found);
  }
}
