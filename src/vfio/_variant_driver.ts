/**
 * Which VFIO driver is made for a PCI function: its variant driver, as the
 * kernel's module aliases tell.
 */

import { SysError } from "../kernel/error.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { SysfsDevice } from "./sysfs.ts";

/** The aliases of all modules: more than a MiB on a distribution's kernel. */
const ALIASES_MAX = 16 << 20;

/** The driver that takes any function, and migrates none. */
const PLAIN = "vfio_pci";

/** What was found out about a function's variant driver. */
export type VariantDriver =
  /** There is one: the module's name, which is the driver's too. */
  | { readonly kind: "known"; readonly module: string }
  /** The kernel has none. */
  | { readonly kind: "none"; readonly release: string }
  /** The aliases cannot be read. */
  | { readonly kind: "unknown" };

/** Looks a function's variant driver up in /lib/modules/RELEASE/modules.alias. */
export function variantDriver(kernel: Kernel, device: SysfsDevice): VariantDriver {
  const own = modalias(device);
  let release: string;
  let aliases: string;
  try {
    release = kernel.readText("/proc/sys/kernel/osrelease").trim();
    aliases = kernel.readText(`/lib/modules/${release}/modules.alias`, ALIASES_MAX);
  } catch (error) {
    if (error instanceof SysError) return { kind: "unknown" };
    throw error;
  }
  if (own === null) return { kind: "unknown" };
  const matching = [...aliases.matchAll(/^alias (vfio_pci:\S+) (\S+)$/gm)]
    .map(([, pattern, module]) => ({ pattern: pattern!, module: module! }))
    .filter(({ pattern, module }) => module !== PLAIN && matches(pattern, own))
    // The fewer wildcards, the more is it meant for this function.
    .sort((a, b) => a.pattern.split("*").length - b.pattern.split("*").length);
  const best = matching[0];
  return best === undefined ? { kind: "none", release } : { kind: "known", module: best.module };
}

/** The name that a VFIO driver of the function is looked up by; null where ids are missing. */
function modalias({ ids, pciClass }: SysfsDevice): string | null {
  if (ids === null || pciClass === null) return null;
  const hex = (value: number, digits: number): string =>
    value.toString(16).toUpperCase().padStart(digits, "0");
  return `vfio_pci:v${hex(ids.vendorId, 8)}d${hex(ids.deviceId, 8)}` +
    `sv${hex(ids.subsystemVendorId, 8)}sd${hex(ids.subsystemId, 8)}` +
    `bc${hex(pciClass >> 16, 2)}sc${hex(pciClass >> 8 & 0xff, 2)}i${hex(pciClass & 0xff, 2)}`;
}

/** Whether a pattern, in which `*` stands for anything, matches. */
function matches(pattern: string, name: string): boolean {
  const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(name);
}
