/**
 * When a phase ends, beyond the driver having no more to give.
 */

import type { PrecopyLimits } from "./engine.ts";
import type { PrecopyOptions } from "../phases/precopy.ts";

/** Rounds after which pre-copy ends, unless told otherwise. */
export const DEFAULT_MAX_ROUNDS = 30;

/** No limits: all of it. */
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
