/**
 * Reads the state once more: after a step, which a driver may be late with, and if it cannot be read.
 */

import { sleepSync } from "../../kernel/process/sleep_sync.ts";
import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";
import type { StateName, StateReport } from "../../vfio/state/states.ts";

/** Milliseconds for which a driver may still show the earlier state after an accepted step. */
const PATIENCE_MS = 10;

/**
 * Reads the state after an accepted step. By the header, the device is then in its new state; if it
 * still shows the earlier one, it is read again for a moment, and a note is made.
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
    sleepSync(1);
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

/** Reads the state; twice if the first read fails, before the device counts as lost. */
export function knownState<Report extends StateReport>(read: () => Report): Report {
  const report = read();
  return report.raw === null ? read() : report;
}
