/**
 * Sizes, rates and times, as a person reads them.
 *
 * @module
 */

import { bytes } from "../../src/base/quantity_words.ts";

export { bytes, count, time } from "../../src/base/quantity_words.ts";

/** Bytes per second, such as `1.2 GiB/s`; `-` if no time passed. */
export function rate(count: number, seconds: number): string {
  return seconds > 0 ? `${bytes(Math.round(count / seconds))}/s` : "-";
}

/** A short time in microseconds, such as `12.3 µs` or `1.24 ms`. */
export function shortTime(micros: number): string {
  if (micros >= 1e6) return `${(micros / 1e6).toFixed(2)} s`;
  return micros >= 1000 ? `${(micros / 1000).toFixed(2)} ms` : `${micros.toFixed(1)} µs`;
}

/** A number as the kernel's documentation writes it: `0x1000`. */
export function hex(number: number | bigint, digits = 0): string {
  return `0x${number.toString(16).padStart(digits, "0")}`;
}
