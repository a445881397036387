/**
 * The kernels that the lab boots, in the cache.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Apt } from "./apt.ts";
import { headersFolder } from "./headers.ts";
import { cached } from "./host.ts";
import { MODULES } from "./modules.ts";
import { fetchStockKernel } from "./stock_kernel.ts";

/** A kernel that the lab knows. */
export interface KernelRelease {
  /** What `--kernel` calls it. */
  readonly name: string;
  /** The Debian release whose stock kernel it is. */
  readonly suite: string;
}

/** The kernels that the lab knows. */
export const KERNELS: readonly KernelRelease[] = [
  { name: "5.10", suite: "bullseye" },
  { name: "6.1", suite: "bookworm" },
  { name: "6.12", suite: "trixie" },
  { name: "7", suite: "sid" },
];

/** A kernel in the cache. */
export interface CachedKernel {
  /** The uncompressed image, which QEMU starts. */
  readonly vmlinux: string;
  /** Its modules, in the order to load them. */
  readonly modules: readonly string[];
  /** The folder that `make -C` builds modules in. */
  readonly headers: string;
  /** A static busybox. */
  readonly busybox: string;
}

/** A kernel with its modules, headers and busybox, fetched where the cache lacks it. */
export function kernel(
  cache: string,
  release: KernelRelease,
  apt: (suite: string) => Apt,
): CachedKernel {
  // Another choice of modules is another folder: an older one lacks some of them.
  const choice = createHash("sha256").update(MODULES.join()).digest("hex").slice(0, 8);
  const final = join(cache, `linux-${release.name}-${choice}`);
  cached(final, (folder) => fetchStockKernel(apt(release.suite), folder, final));
  const order = readFileSync(join(final, "modules", "order"), "utf8").split("\n");
  return {
    vmlinux: join(final, "vmlinux"),
    modules: order.map((name) => join(final, "modules", `${name}.ko`)),
    headers: headersFolder(join(final, "headers")),
    busybox: join(final, "busybox"),
  };
}
