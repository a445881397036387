/**
 * What became of the virtual machine, in words.
 *
 * @module
 */

import { time } from "../../output/format.ts";

/** A line for the report of a save or a restore; null if the machine was paused before. */
export function pausedLine(pausedMs: number | null): string {
  return pausedMs === null
    ? "The virtual machine was paused before, and still is."
    : `The virtual machine was paused for ${time(pausedMs / 1000)}, and runs again.`;
}
