/**
 * The source's side of the commit: when its device may run again.
 *
 * @module
 */

import type { Failure, StepTable } from "./machine.ts";

/**
 * Where the source is.
 *
 * - `moving`: its device runs, and memory and state are sent.
 * - `stopped`: its device is stopped for the last part; nothing is decided.
 * - `committed`: the decision is in the journal. The device runs again only if the destination
 *   refuses.
 * - `aborting`: the decision could not be written for certain, so the destination has to refuse.
 * - `done`: the destination runs. `back`: this device runs again.
 * - `doubt`: the connection broke after the decision. The device stays stopped.
 * - `lost`: the device could not be made to run again.
 */
export type SourceState =
  | "moving"
  | "stopped"
  | "committed"
  | "aborting"
  | "done"
  | "back"
  | "doubt"
  | "lost";

/**
 * What happens to the source: its own device stopped (`stopped`), a message of the destination
 * (`loaded`, `running`, `refused`), the connection broke, timed out or carried garbage (`cut`), an
 * own failure or a signal (`give-up`), a decision from outside (`told-run`, `told-drop`).
 */
export type SourceEvent =
  | "stopped"
  | "loaded"
  | "running"
  | "refused"
  | "cut"
  | "give-up"
  | "told-run"
  | "told-drop";

/** What the source does. */
export type SourceAction =
  | "send end"
  | "send commit"
  | "send abort"
  | "journal commit"
  | "journal back"
  | "journal done"
  | "journal doubt"
  | "run";

/** The source's steps. */
export const SOURCE: StepTable<SourceState, SourceEvent | Failure, SourceAction> = {
  moving: {
    stopped: { to: "stopped", actions: ["send end"] },
    refused: { to: "back", actions: ["journal back"] },
    cut: { to: "back", actions: ["journal back"] },
    "give-up": { to: "back", actions: ["send abort", "journal back"] },
  },
  stopped: {
    loaded: { to: "committed", actions: ["journal commit", "send commit"] },
    refused: { to: "back", actions: ["run", "journal back"] },
    cut: { to: "back", actions: ["run", "journal back"] },
    "give-up": { to: "back", actions: ["send abort", "run", "journal back"] },
  },
  committed: {
    running: { to: "done", actions: ["journal done"] },
    refused: { to: "back", actions: ["run", "journal back"] },
    // The entry may be on the disk or not: only a "refused" of the destination takes it back.
    "journal-failed": { to: "aborting", actions: ["send abort"] },
    cut: { to: "doubt", actions: ["journal doubt"] },
    "give-up": { to: "committed", actions: [] },
  },
  aborting: {
    refused: { to: "back", actions: ["run", "journal back"] },
    cut: { to: "doubt", actions: ["journal doubt"] },
    "give-up": { to: "aborting", actions: [] },
  },
  doubt: {
    "told-run": { to: "back", actions: ["run", "journal back"] },
    "told-drop": { to: "done", actions: ["journal done"] },
    // A connection that can no longer be written to may still have messages to read.
    refused: { to: "back", actions: ["run", "journal back"] },
    running: { to: "done", actions: ["journal done"] },
    cut: { to: "doubt", actions: [] },
  },
  back: {
    "run-failed": { to: "lost", actions: [] },
    // What the destination said before it learned of the end.
    loaded: { to: "back", actions: [] },
    refused: { to: "back", actions: [] },
    "give-up": { to: "back", actions: [] },
  },
  done: { "give-up": { to: "done", actions: [] } },
  lost: {
    loaded: { to: "lost", actions: [] },
    refused: { to: "lost", actions: [] },
    "give-up": { to: "lost", actions: [] },
  },
};
