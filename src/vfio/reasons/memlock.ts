/**
 * How much memory a process may lock.
 *
 * @module
 */

import type { Kernel } from "../../kernel/kernel.ts";

/**
 * The soft limit of RLIMIT_MEMLOCK in bytes, from /proc/self/limits.
 *
 * @returns null if there is no limit, or none that can be read.
 *
 * @example
 * ```ts
 * import { SimKernel } from "vfiokit/sim";
 * import { memlockLimit } from "./memlock.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(memlockLimit(new SimKernel("sim:trapped?memlock=64KiB")), 65536n);
 * assert.equal(memlockLimit(new SimKernel("sim:trapped")), null);
 * ```
 */
export function memlockLimit(kernel: Kernel): bigint | null {
  let text: string;
  try {
    text = kernel.readText("/proc/self/limits");
  } catch {
    return null;
  }
  const match = /^Max locked memory\s+(\d+)\s/m.exec(text);
  return match === null ? null : BigInt(match[1]!);
}
