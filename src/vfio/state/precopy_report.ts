/**
 * How pre-copy went.
 *
 * @module
 */

/** Why pre-copy ended. */
export type PrecopyEnd =
  /** No more than the threshold is pending. */
  | "threshold"
  /** What is pending can be read within the downtime. */
  | "downtime"
  /** The most rounds were made. */
  | "rounds"
  /** The time is over. */
  | "time"
  /** The device changes its state as fast as it is read. */
  | "not-converging"
  /** The driver has nothing more to give. */
  | "drained"
  /** The driver does not tell how much is pending. */
  | "no-estimate";

/** Each of them. */
export const PRECOPY_ENDS: readonly PrecopyEnd[] = [
  ...["threshold", "downtime", "rounds", "time"] as const,
  ...["not-converging", "drained", "no-estimate"] as const,
];

/** One round of pre-copy. */
export interface PrecopyRound {
  /** Bytes that were pending at its start. */
  readonly pending: number;
  /** Bytes that were read in it. */
  readonly bytes: number;
  /** How long it took. */
  readonly seconds: number;
}

/** How pre-copy went. */
export interface PrecopyReport {
  /** The rounds, the first thousand of them. */
  readonly rounds: readonly PrecopyRound[];
  /** Why it ended. */
  readonly ended: PrecopyEnd;
  /** Bytes that were pending at its end; null if the driver did not tell. */
  readonly pending: number | null;
}
