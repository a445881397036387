/**
 * The devices that completion offers: those that VFIO has now, and simulated ones.
 *
 * @module
 */

import { readdirSync } from "node:fs";
import { SIM_OPTIONS, SIMULATED } from "./sim_names.ts";

/** Where the kernel has one entry per device, by the bus's own name for it. */
const FOLDERS = [
  { path: "/sys/class/vfio-dev", drivers: false },
  { path: "/sys/bus/mdev/devices", drivers: false },
  { path: "/sys/bus/pci/drivers", drivers: true },
];

/** The words that can follow a prefix. */
export function* deviceWords(prefix: string): Generator<{ word: string; what: string }> {
  const [, base, last] = /^(sim:[^?]+\?(?:.*&)?)([^=&]*)$/.exec(prefix) ?? [];
  if (base !== undefined) {
    for (const option of SIM_OPTIONS) {
      if (option.startsWith(last!)) yield { word: `${base}${option}=`, what: "An option" };
    }
    return;
  }
  const named = [
    ...realDevices().map((word) => ({ word, what: "A VFIO device" })),
    ...SIMULATED.map((name) => ({ word: `sim:${name}`, what: "A simulated device" })),
  ];
  yield* named.filter(({ word }) => word.startsWith(prefix));
}

/** The VFIO devices of this system, as far as sysfs may be read. */
function realDevices(): string[] {
  return FOLDERS.flatMap(({ path, drivers }) => {
    if (!drivers) return entries(path);
    return entries(path).filter((driver) => driver.includes("vfio"))
      .flatMap((driver) => entries(`${path}/${driver}`).filter((name) => name.includes(":")));
  });
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // The kernel has no such folder; or Deno, which asks for --allow-all below /sys, refuses.
    return [];
  }
}
