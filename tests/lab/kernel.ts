/**
 * Debian's stock kernel and its headers, as packages that are extracted and
 * never installed.
 *
 * @module
 */

import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Apt } from "./apt.ts";
import { cached, MissingError, run, which } from "./host.ts";
import { loadOrder, moduleDepends, moduleName } from "./modules.ts";
import { bzImagePayload, isXz } from "./vmlinux.ts";

/** A kernel that the lab knows. */
export interface KernelRelease {
  /** What `--kernel` calls it. */
  readonly name: string;
  /** The Debian release whose stock kernel it is. */
  readonly suite: string;
}

/** The kernels that the lab knows. */
export const KERNELS: readonly KernelRelease[] = [{ name: "6.1", suite: "bookworm" }];

/** The modules that the guest loads, in addition to what these need. */
const MODULES: readonly string[] = [
  ...["virtio_pci", "9p", "9pnet_virtio", "vfio_iommu_type1", "vfio-pci", "mdev"],
];

/** A kernel in the cache. */
export interface CachedKernel {
  /** The uncompressed image, which QEMU starts. */
  readonly vmlinux: string;
  /** Its modules, in the order to load them. */
  readonly modules: readonly string[];
  /** The folder that `make -C` builds modules in. */
  readonly headers: string;
}

function findModules(root: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && entry.name.endsWith(".ko")) {
      files.set(moduleName(entry.name), join(entry.parentPath, entry.name));
    }
  }
  return files;
}

function takeModules(root: string, to: string): void {
  const files = findModules(root);
  // What the kernel has built in is not among the files.
  const depends = (name: string): string[] => {
    const file = files.get(name);
    if (file === undefined) throw new Error(`Cannot find the kernel module "${name}"`);
    return moduleDepends(readFileSync(file));
  };
  const order = loadOrder(MODULES, depends);
  mkdirSync(to);
  for (const name of order) cpSync(files.get(name) ?? "", join(to, `${name}.ko`));
  writeFileSync(join(to, "order"), order.join("\n"));
}

function takeImage(boot: string, to: string): void {
  const name = readdirSync(boot).find((file) => file.startsWith("vmlinuz-"));
  if (name === undefined) throw new Error("Cannot find the kernel image in its package");
  const payload = bzImagePayload(readFileSync(join(boot, name)));
  if (!isXz(payload)) throw new Error("Cannot unpack the kernel image: it is not packed with xz");
  writeFileSync(`${to}.xz`, payload);
  writeFileSync(to, run("xz", ["--decompress", "--stdout", "--single-stream", `${to}.xz`]));
  rmSync(`${to}.xz`);
}

/** The headers' Makefile names the folder where the package would be installed. */
function mendHeaders(headers: string, folder: string): void {
  const src = join(headers, "usr/src");
  const name = headersName(src);
  const makefile = join(src, name, "Makefile");
  chmodSync(makefile, 0o644);
  const text = readFileSync(makefile, "utf8");
  writeFileSync(makefile, text.replaceAll(" /usr/", ` ${folder}/usr/`));
}

function headersName(src: string): string {
  const name = readdirSync(src).find((file) => /^linux-headers-.*-amd64$/.test(file));
  if (name === undefined) throw new Error("Cannot find the kernel headers in their package");
  return name;
}

function fetchKernel(apt: Apt, folder: string, final: string): void {
  if (which("xz") === null) {
    throw new MissingError('Cannot unpack the kernel: no "xz" on this machine (package xz-utils)');
  }
  const packages = mkdtempSync(join(tmpdir(), "vfiokit-lab-"));
  try {
    apt.extract([apt.resolve("linux-image-amd64", "linux-image-"), "busybox-static"], packages);
    takeImage(join(packages, "boot"), join(folder, "vmlinux"));
    takeModules(join(packages, "lib/modules"), join(folder, "modules"));
    cpSync(join(packages, "bin/busybox"), join(folder, "busybox"));
  } finally {
    rmSync(packages, { recursive: true, force: true });
  }
  const amd64 = apt.resolve("linux-headers-amd64", "linux-headers-");
  const common = apt.resolve(amd64, "linux-headers-");
  const kbuild = apt.resolve(amd64, "linux-kbuild-");
  apt.extract([amd64, common, kbuild], join(folder, "headers"));
  mendHeaders(join(folder, "headers"), join(final, "headers"));
}

/** A kernel with its modules, headers and busybox, fetched where the cache lacks it. */
export function kernel(
  cache: string,
  release: KernelRelease,
  apt: () => Apt,
): CachedKernel & { readonly busybox: string } {
  // Another choice of modules is another folder: an older one lacks some of them.
  const choice = createHash("sha256").update(MODULES.join()).digest("hex").slice(0, 8);
  const final = join(cache, `kernel-${release.name}-${choice}`);
  cached(final, (folder) => fetchKernel(apt(), folder, final));
  const order = readFileSync(join(final, "modules", "order"), "utf8").split("\n");
  return {
    vmlinux: join(final, "vmlinux"),
    modules: order.map((name) => join(final, "modules", `${name}.ko`)),
    headers: join(final, "headers/usr/src", headersName(join(final, "headers/usr/src"))),
    busybox: join(final, "busybox"),
  };
}
