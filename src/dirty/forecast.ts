/**
 * Whether pre-copy of a device's memory would converge, from dirty pages that
 * were measured.
 *
 * @module
 */

import { Growth } from "./_dirty_model.ts";
import type { DirtyRun } from "./bitmap/bitmap.ts";

/** A pre-copy that needs more rounds than this does not converge, unless told otherwise. */
export const FORECAST_MAX_ROUNDS = 30;

/** How closely {@linkcode Forecast.requiredBandwidth} is looked for. */
const PRECISION = 1.001;

/** One read of the dirty pages. */
export interface MeasuredRound {
  /** How long it was since the read before, in seconds. */
  readonly seconds: number;
  /** How many pages were dirty. */
  readonly pages: number;
  /** Which, ascending; null if they are not all known. */
  readonly runs: readonly DirtyRun[] | null;
}

/** What is to be migrated, over what. */
export interface ForecastOptions {
  /** All memory that the device reaches, in bytes. */
  readonly memory: number;
  /** Bytes of a page. */
  readonly pgsize: number;
  /** Bytes a second. */
  readonly bandwidth: number;
  /** How long the device may stand still, in seconds. */
  readonly downtime: number;
  /** The most rounds of pre-copy; {@linkcode FORECAST_MAX_ROUNDS} by default. */
  readonly maxRounds?: number | undefined;
}

/** One round of a pre-copy that might be. */
export interface ForecastRound {
  /** Bytes sent. */
  readonly bytes: number;
  /** How long that takes, in seconds. */
  readonly seconds: number;
  /** Bytes that are dirtied in that time: the next round's, or the last pass's. */
  readonly dirtied: number;
}

/** How a pre-copy would go. */
export interface Forecast {
  /** Whether the remaining memory fits into the downtime. */
  readonly converges: boolean;
  /** The rounds of pre-copy; none if all of the memory fits into the downtime. */
  readonly rounds: readonly ForecastRound[];
  /** All rounds together, in seconds. */
  readonly seconds: number;
  /** How long the device is stopped to copy the remaining memory, in seconds. */
  readonly downtime: number;
  /**
   * The least bandwidth that it converges at, in bytes a second, rounded up;
   * 0 if nothing was dirtied.
   */
  readonly requiredBandwidth: number;
}

/**
 * Forecasts the pre-copy of a device's memory: each round sends what was
 * dirtied during the round before, the first one all of it, until what is left
 * can be sent in the downtime.
 *
 * It counts with the busiest stretch that was measured, of each length: measure
 * the load that the migration will meet. The device's own state is not in it.
 *
 * @param measured Rounds one after the other, at least one; better many and short.
 * @returns How it would go.
 * @throws {RangeError} If there is no round, or a number is negative, or 0 if it cannot be.
 *
 * @example
 * ```ts
 * import { forecast } from "@vfiokit/vfiokit/dirty";
 * import assert from "node:assert/strict";
 *
 * // 1 GiB, of which the same 100 MiB are written each second.
 * const hot = { iova: 0n, size: 100n << 20n };
 * const measured = Array(8).fill({ seconds: 1, pages: 25600, runs: [hot] });
 * const memory = { memory: 2 ** 30, pgsize: 4096, downtime: 0.3 };
 *
 * const fast = forecast(measured, { ...memory, bandwidth: 1.25e9 });
 * assert.equal(fast.converges, true);
 * assert.equal(fast.rounds.length, 1);
 * assert.equal(fast.downtime.toFixed(3), "0.084");
 *
 * const slow = forecast(measured, { ...memory, bandwidth: 1.25e8 });
 * assert.equal(slow.converges, false);
 * assert.ok(slow.requiredBandwidth > 3.4e8 && slow.requiredBandwidth < 3.6e8);
 * ```
 */
export function forecast(measured: readonly MeasuredRound[], options: ForecastOptions): Forecast {
  check(measured, options);
  const growth = new Growth(measured, options.pgsize, options.memory / options.pgsize);
  return { ...run(growth, options), requiredBandwidth: requiredBandwidth(growth, options) };
}

function check(measured: readonly MeasuredRound[], options: ForecastOptions): void {
  const cannot = "Cannot forecast a pre-copy";
  if (measured.length === 0) throw new RangeError(`${cannot}: no round was measured`);
  for (const { seconds, pages } of measured) {
    if (!(seconds > 0) || !(pages >= 0)) {
      throw new RangeError(`${cannot}: a round has ${pages} pages in ${seconds} seconds`);
    }
  }
  for (const name of ["memory", "pgsize", "bandwidth", "downtime"] as const) {
    if (!(options[name] > 0)) {
      throw new RangeError(`${cannot}: ${name} is ${options[name]}, and must be more than 0`);
    }
  }
  if (!(maxRoundsOf(options) >= 0)) {
    throw new RangeError(`${cannot}: maxRounds is ${options.maxRounds}`);
  }
}

function maxRoundsOf({ maxRounds }: ForecastOptions): number {
  return maxRounds ?? FORECAST_MAX_ROUNDS;
}

type Run = Omit<Forecast, "requiredBandwidth">;

function run(growth: Growth, options: ForecastOptions): Run {
  const { memory, pgsize, bandwidth, downtime } = options;
  const maxRounds = maxRoundsOf(options);
  const rounds: ForecastRound[] = [];
  let left = memory;
  while (left / bandwidth > downtime && rounds.length < maxRounds) {
    const seconds = left / bandwidth;
    const dirtied = Math.ceil(growth.pages(seconds)) * pgsize;
    rounds.push({ bytes: left, seconds, dirtied });
    // A round that leaves as much as it sent is followed by others like it.
    const stuck = dirtied >= left;
    left = dirtied;
    if (stuck) break;
  }
  return {
    converges: left / bandwidth <= downtime,
    rounds,
    seconds: rounds.reduce((sum, { seconds }) => sum + seconds, 0),
    downtime: left / bandwidth,
  };
}

/** More bandwidth never needs more downtime: each round is shorter, so less is dirtied in it. */
function requiredBandwidth(growth: Growth, options: ForecastOptions): number {
  const enough = (bandwidth: number): boolean => run(growth, { ...options, bandwidth }).converges;
  if (growth.pages(Number.MAX_VALUE) === 0) return 0;
  let high = options.memory / options.downtime;
  let low = high;
  while (enough(low)) {
    high = low;
    low /= 2;
    if (low < 1) return 1;
  }
  while (high / low > PRECISION) {
    const middle = Math.sqrt(high * low);
    if (enough(middle)) high = middle;
    else low = middle;
  }
  return Math.ceil(high);
}
