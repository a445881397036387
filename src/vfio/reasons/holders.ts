/**
 * Which processes have a file open, as far as /proc shows.
 *
 * @module
 */

import type { Kernel } from "../../kernel/kernel.ts";
import type { Holder } from "./unsupported_error.ts";

/**
 * The processes that have one of these files open, by pid. Other users'
 * processes stay unseen without the right to look at them.
 *
 * @param paths Nodes below /dev. Another mount namespace, as a container has one, shows its own
 * /dev as the root of a file system.
 */
export function findHolders(kernel: Kernel, paths: readonly string[]): Holder[] {
  const shown = new Set(paths.flatMap((path) => [path, path.replace(/^\/dev(?=\/)/, "")]));
  return listed(kernel, "/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .filter((pid) =>
      listed(kernel, `/proc/${pid}/fd`).some((fd) =>
        shown.has(orEmpty(() => kernel.readLink(`/proc/${pid}/fd/${fd}`)))
      )
    )
    .map((pid) => ({
      pid: Number(pid),
      comm: orEmpty(() => kernel.readText(`/proc/${pid}/comm`)).trim(),
    }))
    .sort((a, b) => a.pid - b.pid);
}

/** Processes end while they are looked at, and others may not be looked at: both count as empty. */
function listed(kernel: Kernel, path: string): string[] {
  try {
    return kernel.readDir(path);
  } catch {
    return [];
  }
}

function orEmpty(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
  }
}
