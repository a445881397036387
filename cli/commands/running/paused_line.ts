/**
 * What became of the virtual machine, in words.
 *
 * @module
 */

import { time } from "../../output/format.ts";

/** A line for the report of a save or a restore. */
export function pausedLine(running: boolean, pausedMs: number | null): string {
  return running
    ? `The virtual machine was paused for ${time(pausedMs! / 1000)}, and runs again.`
    : "The virtual machine was paused before, and still is.";
}
