/**
 * Reading a kernel log for what must not be in it.
 *
 * @module
 */

const COMPLAINTS =
  /\b(?:BUG|WARNING|INFO): |\bOops\b|Kernel panic|general protection fault|unable to handle|possible .*deadlock/;

/** The lines of a kernel log that tell of a mistake in the kernel or a driver, each once. */
export function kernelComplaints(log: string): string[] {
  return [...new Set(log.split("\n").filter((line) => COMPLAINTS.test(line)))];
}
