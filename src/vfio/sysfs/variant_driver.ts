/**
 * Finds the VFIO driver made for a PCI function (its variant driver), from the aliases of the
 * kernel's modules, including those that are built in.
 */

import { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { SysfsDevice } from "./sysfs.ts";

/** The aliases of all modules: more than a MiB on a distribution's kernel. */
const ALIASES_MAX = 16 << 20;

/** The driver that takes any function, and migrates none. */
const PLAIN = "vfio_pci";

/** Folders that the modules of a kernel may be in: the last ones are NixOS's. */
const ROOTS = [
  "/lib/modules",
  "/usr/lib/modules",
  "/run/booted-system/kernel-modules/lib/modules",
  "/run/current-system/kernel-modules/lib/modules",
];

/** Drivers as sysfs lists them, loaded or built in. */
const DRIVERS = "/sys/bus/pci/drivers";

/**
 * Variant drivers that do not migrate, by module, and since when if that has changed. Source:
 * drivers/vfio/pci of Linux 6.19: these set no `migration_set_state`; virtio's got one in 6.13.
 */
const WITHOUT_MIGRATION: Readonly<Record<string, string | null>> = {
  ism_vfio_pci: null,
  nvgrace_gpu_vfio_pci: null,
  virtio_vfio_pci: "6.13",
};

/** A VFIO driver: its name for modprobe, and its name in sysfs. */
export interface VfioDriver {
  /** The module's name, as in modules.alias. */
  readonly module: string;
  /** The driver's name, as in /sys/bus/pci/drivers; null if it is not there yet. */
  readonly driver: string | null;
}

/** The result of looking up a function's variant driver. */
export type VariantDriver = VariantFinding & {
  /** Whether plain vfio-pci is there: loaded, or built in. */
  readonly plainIsThere: boolean;
};

/** What was found. */
export type VariantFinding =
  /** There is one. */
  | ({ readonly kind: "known" } & VfioDriver)
  /** There is one, and it does not migrate. */
  | ({ readonly kind: "no-migration" } & VfioDriver)
  /** The kernel has none. */
  | { readonly kind: "none"; readonly release: string }
  /** Not all sources can be read. */
  | {
    readonly kind: "unknown";
    /** What could not be read. */
    readonly unread: readonly string[];
    /** VFIO drivers that sysfs lists; one of them may be it. */
    readonly listed: readonly string[];
  };

/** Looks up a function's variant driver. */
export function variantDriver(kernel: Kernel, device: SysfsDevice): VariantDriver {
  const drivers = listDrivers(kernel);
  const plainIsThere = drivers?.some((name) => spelled(name) === PLAIN) ?? false;
  return { ...findVariant(kernel, device, drivers), plainIsThere };
}

function findVariant(
  kernel: Kernel,
  device: SysfsDevice,
  drivers: readonly string[] | null,
): VariantFinding {
  const own = modalias(device);
  const release = readOrNull(kernel, "/proc/sys/kernel/osrelease")?.trim() ?? null;
  const unread: string[] = drivers === null ? [DRIVERS] : [];
  const aliases = ALIAS_FILES.flatMap((file) => readAliases(kernel, release, file, unread));
  const best = own === null ? undefined : bestMatch(aliases, own);
  if (best !== undefined) {
    const found = { module: best, driver: driverOfModule(kernel, best, drivers ?? []) };
    return { kind: lacksMigration(best, release) ? "no-migration" : "known", ...found };
  }
  if (own !== null && release !== null && unread.length === 0) return { kind: "none", release };
  const listed = (drivers ?? []).filter((name) => /vfio/i.test(name) && spelled(name) !== PLAIN);
  return { kind: "unknown", unread, listed };
}

/** Whether a VFIO driver does not migrate in this kernel, as far as is known of it here. */
export function lacksMigration(name: string, release: string | null): boolean {
  if (!Object.hasOwn(WITHOUT_MIGRATION, spelled(name))) return false;
  const since = WITHOUT_MIGRATION[spelled(name)]!;
  return since === null || release === null || isBefore(release, since);
}

/** Which release of Linux a driver migrates from; null if none does, or that is not known. */
export function migratesFrom(name: string): string | null {
  return WITHOUT_MIGRATION[spelled(name)] ?? null;
}

/** Whether a release, such as `6.12.1-amd64`, comes before a version, such as `6.13`. */
function isBefore(release: string, version: string): boolean {
  const [a, b] = [release, version].map((text) => text.split(/[.-]/).map(Number));
  return a![0]! < b![0]! || (a![0] === b![0] && a![1]! < b![1]!);
}

/** A name as modprobe has it: to it `-` and `_` are one. */
function spelled(name: string): string {
  return name.replaceAll("-", "_");
}

/** One alias: the pattern, and whose it is. */
interface Alias {
  readonly pattern: string;
  readonly module: string;
}

/** A file with aliases, and how to read it. */
interface AliasFile {
  readonly file: string;
  readonly parse: (text: string) => Alias[];
}

const ALIAS_FILES: readonly AliasFile[] = [
  { file: "modules.alias", parse: parseAliases },
  { file: "modules.builtin.modinfo", parse: parseModinfo },
];

/** The aliases in a file of the first folder that has it; if none has, that is noted. */
function readAliases(
  kernel: Kernel,
  release: string | null,
  { file, parse }: AliasFile,
  unread: string[],
): Alias[] {
  for (const root of release === null ? [] : ROOTS) {
    const text = readOrNull(kernel, `${root}/${release}/${file}`);
    if (text !== null) return parse(text);
  }
  unread.push(release === null ? "/proc/sys/kernel/osrelease" : `${ROOTS[0]}/${release}/${file}`);
  return [];
}

function parseAliases(text: string): Alias[] {
  return [...text.matchAll(/^alias (vfio_pci:\S+) (\S+)$/gm)]
    .map(([, pattern, module]) => ({ pattern: pattern!, module: module! }));
}

/** `module.alias=pattern`, each ended by a NUL. */
function parseModinfo(text: string): Alias[] {
  return text.split("\0").flatMap((entry) => {
    const match = /^([\w-]+)\.alias=(vfio_pci:\S+)$/.exec(entry.trim());
    return match === null ? [] : [{ pattern: match[2]!, module: match[1]! }];
  });
}

function bestMatch(aliases: readonly Alias[], own: string): string | undefined {
  return aliases
    .filter(({ pattern, module }) => spelled(module) !== PLAIN && matches(pattern, own))
    // The alias with the fewest wildcards is the most specific.
    .sort((a, b) => a.pattern.split("*").length - b.pattern.split("*").length)[0]?.module;
}

/** The driver of a module, by its link to it, or by its name; null if it is not there. */
function driverOfModule(
  kernel: Kernel,
  module: string,
  drivers: readonly string[],
): string | null {
  const linked = drivers.find((name) => {
    const target = orNull(() => kernel.readLink(`${DRIVERS}/${name}/module`));
    return target !== null &&
      spelled(target.slice(target.lastIndexOf("/") + 1)) === spelled(module);
  });
  return linked ?? drivers.find((name) => spelled(name) === spelled(module)) ?? null;
}

/** The names of all PCI drivers; null if that cannot be read. */
function listDrivers(kernel: Kernel): string[] | null {
  return orNull(() => kernel.readDir(DRIVERS));
}

function readOrNull(kernel: Kernel, path: string): string | null {
  return orNull(() => kernel.readText(path, ALIASES_MAX));
}

function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof SysError) return null;
    throw error;
  }
}

/** The name that a VFIO driver of the function is looked up by; null if ids are missing. */
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
