/**
 * When pre-copy of memory ends: whether what is left can be sent in the downtime that is allowed.
 */

/** A finished round. */
export interface Round {
  /** Bytes of memory and device data that were sent, as they are uncompressed. */
  readonly sent: number;
  /** How long it took. */
  readonly seconds: number;
  /** How long sending took of that, with compression, and until all of it had left. */
  readonly sending: number;
  /** Bytes of memory that were looked at; pages of zeros, or that had not changed, were not sent. */
  readonly looked: number;
  /** How long looking at them took, in seconds. */
  readonly looking: number;
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

/** Bytes per second of sending, over all rounds; 0 if nothing was sent. */
export function bandwidth(rounds: readonly Round[]): number {
  const seconds = sum(rounds, "sending");
  return seconds > 0 ? sum(rounds, "sent") / seconds : 0;
}

function sum(rounds: readonly Round[], what: "sent" | "sending" | "looked" | "looking"): number {
  return rounds.reduce((total, round) => total + round[what], 0);
}

/**
 * How long the devices would stand still if they were stopped after the last round, in milliseconds.
 *
 * @param fixedMs How long comparing memory takes, in addition to sending what is left.
 */
export function expectedDowntimeMs(rounds: readonly Round[], fixedMs: number): number {
  const { left, dirtied } = rounds.at(-1) ?? { left: 0, dirtied: 0 };
  if (left === 0) return fixedMs;
  const rate = bandwidth(rounds);
  if (rate === 0) return Infinity;
  // Of memory that is looked at again, what is not as it was sent before has to be sent.
  const again = rounds.slice(1).findLast(({ compared }) => compared === undefined);
  const part = again === undefined || again.looked === 0
    ? 1
    : Math.min(1, again.sent / again.looked);
  const sending = (dirtied * part + left - dirtied) / rate;
  const looked = sum(rounds, "looked");
  const looking = looked > 0 ? dirtied * sum(rounds, "looking") / looked : 0;
  return (sending + looking) * 1000 + fixedMs;
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
 * const took = { seconds: 1, sending: 1, looked: 1e9, looking: 0.1 };
 * const round = { ...took, sent: 1e9, dirtied: 1e8, left: 1e8 };
 * assert.equal(afterRound([round], 0, limits), "stop");
 * assert.equal(afterRound([{ ...round, dirtied: 5e8, left: 5e8 }], 0, limits), "round");
 * assert.equal(afterRound([round, { ...round, dirtied: 1e9, left: 1e9 }], 0, limits), "give-up");
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
