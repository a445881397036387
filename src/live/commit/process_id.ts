/**
 * A process, named so that a later one with the same number is not taken for it.
 *
 * @module
 */

import process from "node:process";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";

/** A process of some machine. */
export interface ProcessId {
  /** Its number. */
  readonly pid: number;
  /** When it started, in the kernel's clock ticks since boot (proc(5), /proc/pid/stat, 22). */
  readonly started: string;
  /** The boot of its machine (/proc/sys/kernel/random/boot_id). */
  readonly boot: string;
}

/** This process. */
export function thisProcess(): ProcessId {
  const stat = statOf(process.pid);
  return { pid: process.pid, started: stat?.started ?? "0", boot: bootId() };
}

/**
 * Tells whether a process still exists; null if it is on another machine, or was before a reboot of
 * this one, which cannot be told apart. A zombie has closed its files, so it counts as gone.
 *
 * @example
 * ```ts
 * import { isAlive, thisProcess } from "./process_id.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(isAlive(thisProcess()), true);
 * assert.equal(isAlive({ ...thisProcess(), started: "1" }), false);
 * assert.equal(isAlive({ ...thisProcess(), boot: "another" }), null);
 * ```
 */
export function isAlive({ pid, started, boot }: ProcessId): boolean | null {
  if (boot !== bootId()) return null;
  const stat = statOf(pid);
  return stat !== null && stat.started === started && !"ZX".includes(stat.state);
}

function bootId(): string {
  return libcKernel().readText("/proc/sys/kernel/random/boot_id").trim();
}

function statOf(pid: number): { readonly state: string; readonly started: string } | null {
  let text: string;
  try {
    // Through libc: Deno itself reads /proc only with all permissions.
    text = libcKernel().readText(`/proc/${pid}/stat`);
  } catch {
    return null;
  }
  // The second field is the program's name in brackets, and may hold spaces and brackets.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0]!, started: fields[19]! };
}
