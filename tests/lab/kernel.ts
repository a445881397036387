/**
 * The kernels that the lab boots, in the cache.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Apt, HOST_SUITE } from "./apt.ts";
import { headersFolder } from "./headers.ts";
import { cached } from "./host.ts";
import { MODULES } from "./modules.ts";
import { buildSourceKernel, CONFIG } from "./source_kernel.ts";
import { fetchStockKernel } from "./stock_kernel.ts";

/** A kernel that the lab knows. */
export interface KernelRelease {
  /** What `--kernel` calls it. */
  readonly name: string;
  /** The Debian release that it is of. */
  readonly suite: string;
  /** Whether it is built here, from Debian's source, with options of our own. */
  readonly built?: true;
  /** Modules that only this one has. */
  readonly modules?: readonly string[];
  /** Whether the kernel's sample device is built for it, from Debian's source. */
  readonly sample?: true;
}

/** The kernels that the lab knows. */
export const KERNELS: readonly KernelRelease[] = [
  { name: "5.10", suite: "bullseye", modules: ["vfio_mdev"] },
  { name: "6.1", suite: "bookworm" },
  { name: "6.12", suite: "trixie", sample: true },
  { name: "7", suite: "sid" },
  { name: "6.12-iommufd", suite: "trixie", built: true, sample: true },
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

/** A kernel with its modules, headers and busybox, fetched or built where the cache lacks it. */
export function kernel(
  cache: string,
  { name, suite, built, modules = [] }: KernelRelease,
  apt: (suite: string) => Apt,
  say: (text: string) => void,
): CachedKernel {
  // Another choice of modules or options is another folder: an older one lacks some of them.
  const wanted = [...MODULES, ...modules];
  const choice = createHash("sha256").update(wanted.join());
  if (built) choice.update(readFileSync(CONFIG));
  const final = join(cache, `linux-${name}-${choice.digest("hex").slice(0, 8)}`);
  cached(final, (folder) => {
    if (!built) return fetchStockKernel(apt(suite), wanted, folder, final);
    say(`building Linux ${name} from its source, which takes about ten minutes`);
    buildSourceKernel({ source: apt(suite), tools: apt(HOST_SUITE) }, wanted, folder);
  });
  const order = readFileSync(join(final, "modules", "order"), "utf8").split("\n");
  return {
    vmlinux: join(final, "vmlinux"),
    modules: order.map((name) => join(final, "modules", `${name}.ko`)),
    headers: headersFolder(join(final, "headers")),
    busybox: join(final, "busybox"),
  };
}
