/**
 * Rules that no built-in check judges by, and why.
 *
 * @module
 */

/** Why a rule is not checked, by its number. */
export const UNCHECKED: ReadonlyMap<number, string> = new Map([
  [
    39,
    "what makes a device send an interrupt is its own: a vendor's check (defineCheck) can do it",
  ],
  [94, "nobody but the device knows when it reads memory: a vendor's check can make it read"],
]);
