/**
 * Where cache lines begin in a buffer, which decides how fast the kernel copies from it.
 */

import { libc } from "./calls_with_errno.ts";

/** The size of a cache line in bytes; one of 128 bytes begins at every second of these. */
export const CACHE_LINE = 64;

/**
 * How many bytes of a buffer are before the first cache line that begins in it.
 *
 * The kernel copies what is written or sent with `rep movsb`. AMD's processors do that at half the
 * speed from an address that is no multiple of 32, such as most of malloc's (docs/performance.md).
 */
export function bytesToCacheLine(buffer: Uint8Array): number {
  const past = Number(libc().addressOf(buffer) % BigInt(CACHE_LINE));
  return past === 0 ? 0 : CACHE_LINE - past;
}
