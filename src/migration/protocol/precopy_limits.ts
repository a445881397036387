/**
 * The limits at which pre-copy ends.
 */

import type { PrecopyLimits } from "./engine.ts";

/** When pre-copy ends: at the first of these limits, or when nothing is pending. */
export interface PrecopyOptions {
  /** At most this many bytes are pending. Default 0. */
  readonly threshold?: number | undefined;
  /**
   * By the driver's estimate, stop-and-copy takes at most this many milliseconds at the rate of
   * pre-copy so far. Default: no such limit.
   */
  readonly downtimeMs?: number | undefined;
  /**
   * Number of rounds; a round ends when as many bytes were read as were pending at its start.
   * Default 30.
   */
  readonly maxRounds?: number | undefined;
  /** Time in milliseconds. Default: no limit. */
  readonly maxTimeMs?: number | undefined;
}

/** Default number of rounds after which pre-copy ends. */
export const DEFAULT_MAX_ROUNDS = 30;

/** No limits. */
export const NO_LIMITS: PrecopyLimits = {
  threshold: 0,
  downtimeMs: 0,
  maxRounds: Infinity,
  maxTimeMs: Infinity,
};

/** The limits of pre-copy, defaults filled in. */
export function precopyLimits(options: PrecopyOptions): PrecopyLimits {
  return {
    threshold: options.threshold ?? 0,
    downtimeMs: options.downtimeMs ?? 0,
    maxRounds: options.maxRounds ?? DEFAULT_MAX_ROUNDS,
    maxTimeMs: options.maxTimeMs ?? Infinity,
  };
}
