/**
 * Several ways of doing one thing, measured in turns.
 */

/**
 * Runs each of them `rounds` times, one after the other, and keeps the least of
 * each, in whatever unit they measure. Noise only ever adds; taking turns
 * spreads it over all of them.
 */
export async function interleave<Name extends string>(
  rounds: number,
  ways: Readonly<Record<Name, () => number | Promise<number>>>,
): Promise<Record<Name, number>> {
  const names = Object.keys(ways) as Name[];
  const least = Object.fromEntries(names.map((name) => [name, Infinity])) as Record<Name, number>;
  for (let round = 0; round < rounds; round++) {
    for (const name of names) least[name] = Math.min(least[name], await ways[name]());
  }
  return least;
}
