/**
 * Two ways of doing one thing, measured in turns.
 */

/** The least of each, in whatever unit they were measured in. */
export interface Pair {
  readonly ours: number;
  readonly theirs: number;
}

/**
 * Runs both `rounds` times, one after the other, and keeps the least of each.
 * Noise only ever adds; taking turns spreads it over both.
 */
export async function interleave(
  rounds: number,
  ours: () => number | Promise<number>,
  theirs: () => number | Promise<number>,
): Promise<Pair> {
  const least = { ours: Infinity, theirs: Infinity };
  for (let round = 0; round < rounds; round++) {
    least.theirs = Math.min(least.theirs, await theirs());
    least.ours = Math.min(least.ours, await ours());
  }
  return least;
}
