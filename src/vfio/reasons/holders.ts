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
  return holdersOf(holdersByNode(kernel), paths);
}

/** The processes that have any of some nodes open, each once, by ascending pid. */
export function holdersOf(
  byNode: ReadonlyMap<string, readonly Holder[]>,
  paths: readonly string[],
): Holder[] {
  const found = paths.flatMap((path) => byNode.get(path) ?? []);
  return [...new Map(found.map((holder) => [holder.pid, holder])).values()]
    .sort((a, b) => a.pid - b.pid);
}

/** What a link in /proc/PID/fd to a node below /dev/vfio is, also in another mount namespace. */
const NODE = /^(?:\/dev)?(\/vfio\/[\w/-]+)$/;

/** The processes that have a node below /dev/vfio open, by its path. */
export function holdersByNode(kernel: Kernel): ReadonlyMap<string, readonly Holder[]> {
  const holders = new Map<string, Holder[]>();
  for (const pid of listed(kernel, "/proc").filter((name) => /^[0-9]+$/.test(name))) {
    const links = listed(kernel, `/proc/${pid}/fd`)
      .map((fd) => NODE.exec(orEmpty(() => kernel.readLink(`/proc/${pid}/fd/${fd}`)))?.[1]);
    const nodes = new Set(links.filter((link) => link !== undefined));
    if (nodes.size === 0) continue;
    const comm = orEmpty(() => kernel.readText(`/proc/${pid}/comm`)).trim();
    for (const node of nodes) {
      const path = `/dev${node}`;
      holders.set(path, [...holders.get(path) ?? [], { pid: Number(pid), comm }]);
    }
  }
  return holders;
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
