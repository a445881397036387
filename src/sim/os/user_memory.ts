/**
 * The memory of the simulated process, as the kernel accesses it by address.
 */

import type { Bytes } from "./bytes.ts";

/** The end of a process's address space (TASK_SIZE_MAX of x86-64). */
const TASK_SIZE_MAX = 0x7fff_ffff_f000n;

/** A process's memory. Access to an address that is not mapped fails with EFAULT. */
export interface UserMemory {
  /** Copies `into.length` bytes from `address` to `into`. */
  read(address: bigint, into: Bytes): void;
  /** Copies `from` to `address`. */
  write(address: bigint, from: Bytes): void;
  /** Whether all of a range is mapped. */
  has(address: bigint, length: bigint): boolean;
}

/** Whether a range lies in a process's address space, mapped or not (access_ok). */
export function isUserRange(address: bigint, length: bigint): boolean {
  return address + length <= TASK_SIZE_MAX;
}
