/**
 * Parses and formats sizes, rates and durations as users write them.
 */

import { parseQuantity, SIZE_UNITS } from "../base/size_units.ts";

/** Bytes: `4096`, `64KiB`, `256MiB`, `4G`; null for anything else. */
export function parseSize(text: string): number | null {
  return parseQuantity(text, SIZE_UNITS);
}

/** Milliseconds: `500ms`, `5s`; null for anything else. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,9})(ms|s)$/.exec(text);
  return match === null ? null : Number(match[1]) * (match[2] === "s" ? 1000 : 1);
}

/** A u32, decimal or `0x…`; null for anything else. */
export function parseU32(text: string): number | null {
  if (!/^(\d{1,10}|0x[0-9a-f]{1,8})$/i.test(text)) return null;
  const value = Number(text);
  return value < 2 ** 32 ? value : null;
}

/** Bytes in the largest unit that leaves a whole number: `16MiB`. */
export function formatSize(bytes: number): string {
  const unit = ["GiB", "MiB", "KiB"].find((name) => bytes > 0 && bytes % SIZE_UNITS[name]! === 0);
  return unit === undefined ? String(bytes) : `${bytes / SIZE_UNITS[unit]!}${unit}`;
}
