/** The most memory that a process has taken. */

import * as fs from "node:fs";

/** The most memory that this process has taken, in MiB. */
export function peakMib(): number {
  const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync("/proc/self/status", "utf8"))!;
  return Math.ceil(Number(kib) / 1024);
}
