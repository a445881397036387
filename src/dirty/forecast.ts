/**
 * Whether pre-copy of a device's memory would converge, judged from measured dirty pages.
 *
 * @module
 */

import { WorkingSetCurve } from "./_working_set_curve.ts";
import type { DirtyRun } from "./bitmap/bitmap.ts";

/** The default limit: a pre-copy that needs more rounds does not converge. */
export const FORECAST_MAX_ROUNDS = 30;

/** The precision of {@linkcode Forecast.requiredBandwidth}. */
const PRECISION = 1.001;

/** One read of the dirty pages. */
export interface MeasuredRound {
  /** Seconds since the previous read. */
  readonly seconds: number;
  /** How many pages were dirty. */
  readonly pages: number;
  /** The dirty pages, ascending; null if not all are known. */
  readonly runs: readonly DirtyRun[] | null;
}

/** What to migrate, and at what bandwidth. */
export interface ForecastOptions {
  /** All memory that the device reaches, in bytes. */
  readonly memory: number;
  /** Bytes of a page. */
  readonly pgsize: number;
  /** Bandwidth in bytes per second. */
  readonly bandwidth: number;
  /** How long the device may be stopped, in seconds. */
  readonly downtime: number;
  /** The most rounds of pre-copy; {@linkcode FORECAST_MAX_ROUNDS} by default. */
  readonly maxRounds?: number | undefined;
}

/** One round of the forecast pre-copy. */
export interface ForecastRound {
  /** Bytes sent. */
  readonly bytes: number;
  /** Seconds that sending takes. */
  readonly seconds: number;
  /** Bytes that are dirtied in that time: the next round's, or the last pass's. */
  readonly dirtied: number;
}

/** The forecast of a pre-copy. */
export interface Forecast {
  /** Whether the remaining memory fits into the downtime. */
  readonly converges: boolean;
  /** The rounds of pre-copy; none if all of the memory fits into the downtime. */
  readonly rounds: readonly ForecastRound[];
  /** Seconds of all rounds together. */
  readonly seconds: number;
  /** How long the device is stopped to copy the remaining memory, in seconds. */
  readonly downtime: number;
  /**
   * The lowest bandwidth at which it converges, in bytes per second, rounded up; 0 if nothing was
   * dirtied.
   */
  readonly requiredBandwidth: number;
}

/**
 * Forecasts the pre-copy of a device's memory. The first round sends all memory, each later round
 * what was dirtied during the round before, until the rest can be sent in the downtime.
 *
 * The forecast uses the busiest measured window of each length, so measure under the load that the
 * migration will meet. It excludes the device's own state.
 *
 * @param measured Consecutive rounds, at least one; many short ones are better.
 * @returns The forecast.
 * @throws {RangeError} If there is no round, or a number is negative, or 0 if it cannot be.
 *
 * @example
 * ```ts
 * import { forecast } from "vfiokit/dirty";
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
  const curve = new WorkingSetCurve(measured, options.pgsize, options.memory / options.pgsize);
  return { ...run(curve, options), requiredBandwidth: requiredBandwidth(curve, options) };
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

function run(curve: WorkingSetCurve, options: ForecastOptions): Run {
  const { memory, pgsize, bandwidth, downtime } = options;
  const maxRounds = maxRoundsOf(options);
  const rounds: ForecastRound[] = [];
  let left = memory;
  while (left / bandwidth > downtime && rounds.length < maxRounds) {
    const seconds = left / bandwidth;
    const dirtied = Math.ceil(curve.pages(seconds)) * pgsize;
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
function requiredBandwidth(curve: WorkingSetCurve, options: ForecastOptions): number {
  const enough = (bandwidth: number): boolean => run(curve, { ...options, bandwidth }).converges;
  if (curve.pages(Number.MAX_VALUE) === 0) return 0;
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
