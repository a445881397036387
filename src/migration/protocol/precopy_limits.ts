/**
 * When a phase ends, beyond the driver having no more to give.
 */

import type { PrecopyLimits } from "./engine.ts";

/** When pre-copy ends: at the first of these, or when nothing is pending. */
export interface PrecopyOptions {
  /** No more bytes than this are pending. Default 0. */
  readonly threshold?: number | undefined;
  /**
   * What stop-and-copy has to read then, by the driver's estimate, takes no longer than this many
   * milliseconds at the rate of pre-copy so far. Default: no such limit.
   */
  readonly downtimeMs?: number | undefined;
  /** So many rounds; a round ends when as many bytes were read as were pending at its start. Default 30. */
  readonly maxRounds?: number | undefined;
  /** So many milliseconds. Default: no limit. */
  readonly maxTimeMs?: number | undefined;
}

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
