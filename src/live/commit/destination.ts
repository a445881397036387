/**
 * The destination's side of the commit: when its device may run.
 *
 * @module
 */

import type { Failure, StepTable } from "./machine.ts";

/**
 * Where the destination is.
 *
 * - `receiving`: memory and state arrive.
 * - `loaded`: the device has taken everything, and is stopped. v2 drivers have judged the state by
 *   then; v1 drivers judge it as the device begins to run.
 * - `starting`: the source has committed; the device is made to run.
 * - `running`: it runs. `refused`: it does not, it was reset.
 * - `doubt`: the connection broke before the decision came. The device stays stopped.
 * - `stuck`: the device could neither run nor be reset.
 */
export type DestinationState =
  | "receiving"
  | "loaded"
  | "starting"
  | "running"
  | "refused"
  | "doubt"
  | "stuck";

/**
 * What happens to the destination: its own device took everything (`took-all`), refused something
 * (`failed`), runs (`ran`); a message of the source (`commit`, `abort`); the connection broke,
 * timed out or carried garbage (`cut`); a signal (`give-up`); a decision from outside (`told-run`,
 * `told-reset`).
 */
export type DestinationEvent =
  | "took-all"
  | "failed"
  | "ran"
  | "commit"
  | "abort"
  | "cut"
  | "give-up"
  | "told-run"
  | "told-reset";

/** What the destination does. */
export type DestinationAction =
  | "send loaded"
  | "send running"
  | "send refused"
  | "journal loaded"
  | "journal starting"
  | "journal running"
  | "journal refused"
  | "journal doubt"
  | "run"
  | "reset";

/** The reset comes first: a journal or a source that reads "refused" may count on it. */
const REFUSE = {
  to: "refused",
  actions: ["reset", "journal refused", "send refused"],
} as const;

/** The destination's steps. */
export const DESTINATION: StepTable<
  DestinationState,
  DestinationEvent | Failure,
  DestinationAction
> = {
  receiving: {
    "took-all": { to: "loaded", actions: ["journal loaded", "send loaded"] },
    failed: REFUSE,
    abort: REFUSE,
    cut: REFUSE,
    "give-up": REFUSE,
  },
  loaded: {
    commit: { to: "starting", actions: ["journal starting", "run"] },
    "journal-failed": REFUSE,
    abort: REFUSE,
    "give-up": REFUSE,
    // The source may have decided: its device may be gone, and this one have the only state.
    cut: { to: "doubt", actions: ["journal doubt"] },
  },
  starting: {
    ran: { to: "running", actions: ["journal running", "send running"] },
    // Without the entry, nothing would show later that this device may have run.
    "journal-failed": REFUSE,
    "run-failed": REFUSE,
    cut: { to: "starting", actions: [] },
    // It runs by a decision from outside; the source, if it still waits, gets "running".
    abort: { to: "starting", actions: [] },
    "give-up": { to: "starting", actions: [] },
  },
  doubt: {
    "told-run": { to: "starting", actions: ["journal starting", "run"] },
    "told-reset": REFUSE,
    abort: REFUSE,
    cut: { to: "doubt", actions: [] },
  },
  refused: {
    "reset-failed": { to: "stuck", actions: [] },
    abort: { to: "refused", actions: [] },
    commit: { to: "refused", actions: [] },
    "give-up": { to: "refused", actions: [] },
  },
  running: {
    abort: { to: "running", actions: [] },
    "give-up": { to: "running", actions: [] },
  },
  stuck: {
    abort: { to: "stuck", actions: [] },
    commit: { to: "stuck", actions: [] },
    "give-up": { to: "stuck", actions: [] },
  },
};
