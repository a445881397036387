/**
 * The state after a step, read back from a driver that may be late with it.
 */

import { nap } from "../../kernel/process/nap.ts";
import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";
import type { StateName, StateReport } from "../../vfio/state/states.ts";

/** Milliseconds that a driver may still show the state before, though it took the step. */
const PATIENCE_MS = 10;

/**
 * Reads the state after a step that the driver took. By the header the device is in its new state
 * then; one that still shows what it showed before is read again for a moment, and that is noted.
 */
export function readBack<Report extends StateReport>(
  read: () => Report,
  before: Report,
  target: StateName,
  notes: DriverNotes,
): Report {
  const late = (report: Report): boolean => report.state !== target && report.raw === before.raw;
  let after = read();
  for (let waited = 1; late(after) && waited <= PATIENCE_MS; waited++) {
    nap(1);
    after = read();
    if (late(after)) continue;
    notes.add(
      "state-lags",
      () =>
        `the state still read ${before.state} after the step, and ${after.state} about ${waited} ms later`,
    );
  }
  return after;
}
