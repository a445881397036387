/**
 * Files that show which cause of an errno applies.
 */

import type { Kernel } from "../../kernel/kernel.ts";

/** All interrupts of all processors: more than a MiB on a large machine. */
const INTERRUPTS_MAX = 16 << 20;

/**
 * The memory that firmware keeps mapped for the devices of a group: the `direct` lines of its
 * reserved_regions (on Intel: RMRRs), such as `0x7b800000-0x7fffffff`.
 *
 * @returns null if that cannot be read.
 */
export function firmwareRegions(kernel: Kernel, group: number): readonly string[] | null {
  const text = textOf(kernel, `/sys/kernel/iommu_groups/${group}/reserved_regions`);
  if (text === null) return null;
  return [...text.matchAll(/^0x([0-9a-f]+) 0x([0-9a-f]+) direct$/gm)]
    .map(([, start, end]) => `0x${trimmed(start!)}-0x${trimmed(end!)}`);
}

function trimmed(digits: string): string {
  return digits.replace(/^0+(?=.)/, "");
}

/**
 * Whether interrupts are remapped, as the names of the interrupt controllers tell on x86
 * (`IR-PCI-MSI`); null if they do not tell.
 */
export function remapsInterrupts(kernel: Kernel): boolean | null {
  const text = textOf(kernel, "/proc/interrupts", INTERRUPTS_MAX);
  if (text === null || !/\b(IO-APIC|PCI-MSI)/.test(text)) return null;
  return /\bIR-(IO-APIC|PCI-MSI)/.test(text);
}

/** Whether something is there; null if that cannot be seen. */
export function exists(kernel: Kernel, path: string): boolean | null {
  try {
    kernel.realPath(path);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code === "ENOENT" ? false : null;
  }
}

/** Whether this process is root's; null if that cannot be seen. */
export function isRoot(kernel: Kernel): boolean | null {
  const uids = /^Uid:\s+\d+\s+(\d+)/m.exec(textOf(kernel, "/proc/self/status") ?? "");
  return uids === null ? null : uids[1] === "0";
}

/** A small file; null if it cannot be read. */
export function textOf(kernel: Kernel, path: string, maxBytes?: number): string | null {
  try {
    return kernel.readText(path, maxBytes);
  } catch {
    return null;
  }
}
