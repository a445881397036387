/**
 * When pre-copy of memory ends: whether what is left can be sent in the downtime that is allowed.
 */

/** A finished round. */
export interface Round {
  /** Bytes of memory and device data that were sent, as they are uncompressed. */
  readonly sent: number;
  /** How long it took. */
  readonly seconds: number;
  /** Bytes of memory that became dirty during the round. */
  readonly dirtied: number;
  /** Those, and the bytes that the devices report as pending. */
  readonly left: number;
  /** Set if all memory was compared as well, which takes time and sends little. */
  readonly compared?: true;
}

/** When to stop the devices. */
export interface ConvergenceOptions {
  /** The downtime that is allowed, in milliseconds. */
  readonly downtimeMs: number;
  /** After so many rounds it does not converge. */
  readonly maxRounds: number;
  /** After so many milliseconds it does not converge. */
  readonly maxTimeMs: number;
}

/** Bytes per second over all rounds; 0 if nothing was sent. */
export function bandwidth(rounds: readonly Round[]): number {
  const sending = rounds.filter(({ compared }) => compared === undefined);
  const sent = sending.reduce((sum, round) => sum + round.sent, 0);
  const seconds = sending.reduce((sum, round) => sum + round.seconds, 0);
  return seconds > 0 ? sent / seconds : 0;
}

/**
 * How long the devices would stand still if they were stopped after the last round, in milliseconds.
 *
 * @param fixedMs How long comparing memory takes, in addition to sending what is left.
 */
export function expectedDowntimeMs(rounds: readonly Round[], fixedMs: number): number {
  const left = rounds.at(-1)?.left ?? 0;
  if (left === 0) return fixedMs;
  const rate = bandwidth(rounds);
  return rate > 0 ? left / rate * 1000 + fixedMs : Infinity;
}

/**
 * What to do after a round: `stop` the devices, since what is left fits; go on with another `round`;
 * or `give-up`, since the limit of rounds or time is reached.
 *
 * @example
 * ```ts
 * import { afterRound } from "./convergence.ts";
 * import assert from "node:assert/strict";
 *
 * const limits = { downtimeMs: 300, maxRounds: 2, maxTimeMs: Infinity };
 * const round = { sent: 1e9, seconds: 1, dirtied: 1e8, left: 1e8 };
 * assert.equal(afterRound([round], 0, limits), "stop");
 * assert.equal(afterRound([{ ...round, left: 5e8 }], 0, limits), "round");
 * assert.equal(afterRound([round, { ...round, left: 1e9 }], 0, limits), "give-up");
 * ```
 */
export function afterRound(
  rounds: readonly Round[],
  fixedMs: number,
  { downtimeMs, maxRounds, maxTimeMs }: ConvergenceOptions,
): "stop" | "round" | "give-up" {
  if (expectedDowntimeMs(rounds, fixedMs) <= downtimeMs) return "stop";
  const spentMs = rounds.reduce((sum, { seconds }) => sum + seconds * 1000, 0);
  return rounds.length >= maxRounds || spentMs >= maxTimeMs ? "give-up" : "round";
}
