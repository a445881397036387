/**
 * Sizes, rates and times, as a person reads them.
 *
 * @module
 */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** A number of bytes, such as `4.0 KiB`. */
export function bytes(count: number): string {
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${count} B` : `${value.toFixed(1)} ${UNITS[unit]}`;
}

/** Bytes per second, such as `1.2 GiB/s`; `-` if no time passed. */
export function rate(count: number, seconds: number): string {
  return seconds > 0 ? `${bytes(Math.round(count / seconds))}/s` : "-";
}

/** A time, such as `12 ms` or `3.4 s`. */
export function time(seconds: number): string {
  return seconds < 1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(2)} s`;
}

/** A short time in microseconds, such as `12.3 µs` or `1.24 ms`. */
export function shortTime(micros: number): string {
  if (micros >= 1e6) return `${(micros / 1e6).toFixed(2)} s`;
  return micros >= 1000 ? `${(micros / 1000).toFixed(2)} ms` : `${micros.toFixed(1)} µs`;
}

/** A number with its noun: `1 transaction`, `2 transactions`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** A number as the kernel's documentation writes it: `0x1000`. */
export function hex(number: number | bigint, digits = 0): string {
  return `0x${number.toString(16).padStart(digits, "0")}`;
}
