/**
 * The memory of the simulated process, as the kernel reaches it by address.
 */

import type { Bytes } from "./_region.ts";

/** Addresses from here on are no process's (TASK_SIZE_MAX of x86-64). */
const TASK_SIZE_MAX = 0x7fff_ffff_f000n;

/** A process's memory; what is not mapped there is EFAULT. */
export interface UserMemory {
  /** Copies `into.length` bytes out. */
  read(address: bigint, into: Bytes): void;
  /** Copies `from` in. */
  write(address: bigint, from: Bytes): void;
  /** Whether all of a range is mapped. */
  has(address: bigint, length: bigint): boolean;
}

/** Whether a range could be a process's memory at all (access_ok). */
export function isUserRange(address: bigint, length: bigint): boolean {
  return address + length <= TASK_SIZE_MAX;
}
