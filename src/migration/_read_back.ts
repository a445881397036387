/**
 * The state after a step, read back from a driver that may be late with it.
 */

import { nap } from "../kernel/nap.ts";
import type { DriverNotes } from "../vfio/driver_notes.ts";
import type { StateName, StateReport } from "./types.ts";

/** Milliseconds that a driver may still show the state before, though it took the step. */
const PATIENCE_MS = 10;

/**
 * Reads the state after a step that the driver took. The header has the device in its new state by
 * then; one that still shows the state before is read again for a moment, and noted.
 */
export function readBack<Report extends StateReport>(
  read: () => Report,
  before: StateName,
  notes: DriverNotes,
): Report {
  let after = read();
  for (let waited = 1; after.state === before && waited <= PATIENCE_MS; waited++) {
    nap(1);
    after = read();
    if (after.state === before) continue;
    notes.add(
      "state-lags",
      () =>
        `the state still read ${before} after the step, and ${after.state} about ${waited} ms later`,
    );
  }
  return after;
}
