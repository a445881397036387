/**
 * The running kernel's release, for rules that depend on it.
 */

import type { Kernel } from "../../kernel/kernel.ts";

/** Enterprise kernels keep an old number and take in what later ones have. */
const BACKPORTS = /\.(el|oe|an|al|tl)\d/;

/** The release, such as `6.12.0-amd64`; null if /proc does not tell. */
export function kernelRelease(kernel: Kernel): string | null {
  try {
    return kernel.readText("/proc/sys/kernel/osrelease").trim();
  } catch {
    return null;
  }
}

/**
 * Whether a release has what Linux has from MAJOR.MINOR on; null if the number does not tell.
 */
export function hasSince(release: string | null, major: number, minor: number): boolean | null {
  const numbers = /^(\d{1,4})\.(\d{1,4})/.exec(release ?? "");
  if (release === null || numbers === null) return null;
  const [ownMajor, ownMinor] = [Number(numbers[1]), Number(numbers[2])];
  if (ownMajor > major || (ownMajor === major && ownMinor >= minor)) return true;
  return BACKPORTS.test(release) ? null : false;
}
