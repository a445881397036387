/**
 * Sizes as users write them: on the command line and in the names of simulated devices.
 *
 * @module
 */

/** The bytes of each unit. Letters alone mean what dd, truncate and QEMU take them for. */
export const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  K: 2 ** 10,
  KiB: 2 ** 10,
  M: 2 ** 20,
  MiB: 2 ** 20,
  G: 2 ** 30,
  GiB: 2 ** 30,
  T: 2 ** 40,
  TiB: 2 ** 40,
};

/**
 * A number with one of some units, in whatever case, rounded; null for anything else, and for what
 * is no safe integer.
 */
export function parseQuantity(
  text: string,
  units: Readonly<Record<string, number>>,
): number | null {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)([a-zA-Z]*)$/.exec(text) ?? [];
  const factor = unitNamed(unit, units);
  const value = Math.round(Number(number) * (factor ?? Number.NaN));
  return Number.isSafeInteger(value) ? value : null;
}

/** What a unit stands for, in whatever case; undefined if there is none of that name. */
export function unitNamed(
  name: string,
  units: Readonly<Record<string, number>>,
): number | undefined {
  return Object.entries(units).find(([unit]) => unit.toLowerCase() === name.toLowerCase())?.[1];
}
